"""How a report answers in a browser: from opening it to its figures, changing the phase, zooming, and hovering.

    python benchmarks/page.py results/NAME/report.html                  needs chromium
    python benchmarks/page.py results/NAME/report.html --no-webgl       as a browser without WebGL shows it

The page is opened as it is, with a script at its end that does what a reader would do and notes the times. There is no
GPU behind a headless browser: figures are drawn by the processor.
"""

import argparse
import json
import subprocess
import tempfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

GIVEN_UP_S = 300
STEPS = {
    "opened, all figures drawn": "",
    "another phase": 'document.querySelector(".tabs [aria-pressed=false]")?.click();',
    "zoomed into a quarter": "await zoom(0.25);",
    "zoomed out": "await zoom(1);",
    "hovered over an arch": "Plotly.Fx.hover(box, [{curveNumber: 0, pointNumber: 7}]);",
}
PROBE = """
<script type="module">
const box = document.getElementById("cost"), whole = box?.layout.xaxis.range.slice();
const shown = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
const zoom = (part) => Plotly.relayout(box, {"xaxis.range": [whole[0], whole[0] + part * (whole[1] - whole[0])]});
const times = {};
let before = 0;  // when the page was asked for
const step = async (name, act) => {
  await act();
  await shown();
  times[name] = performance.now() - before;
  before = performance.now();
};
STEPS
const heap = performance.memory.usedJSHeapSize / 1e6;
const points = box?.data.reduce((sum, trace) => sum + trace.x.length, 0);
fetch("/", {method: "POST", body: JSON.stringify({times, heap, points, drawn: box?.data[0].type})});
</script>
</body>"""


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--no-webgl", action="store_true")
    parser.add_argument("--browser", default="chromium")
    options = parser.parse_args()
    found = opened(options.page, options.browser, webgl=not options.no_webgl)
    print(
        f"{options.page}: {options.page.stat().st_size / 1e6:.1f} MB, {found['points']:,} points in the figure of costs"
    )
    print(f"drawn by {found['drawn']}, {found['heap']:.0f} MB of JavaScript's memory")
    for name, milliseconds in found["times"].items():
        print(f"{name}: {milliseconds / 1000:.2f} s")


def opened(page: Path, browser: str, *, webgl: bool) -> dict[str, Any]:
    """What the script at the page's end has noted and sent back."""
    steps = "\n".join(f"await step({json.dumps(name)}, async () => {{ {act} }});" for name, act in STEPS.items())
    head, _, tail = page.read_text(encoding="utf-8").rpartition("</body>")
    found: dict[str, Any] = {}
    handler = partial(Server, (head + PROBE.replace("STEPS", steps) + tail).encode(), found)
    graphics = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"] if webgl else ["--disable-3d-apis"]
    with tempfile.TemporaryDirectory() as profile, HTTPServer(("localhost", 0), handler) as server:
        command = [browser, "--headless", "--no-sandbox", "--window-size=1280,900", f"--user-data-dir={profile}"]
        command += [*graphics, "--enable-precise-memory-info", "--remote-debugging-port=0"]
        command.append(f"http://localhost:{server.server_port}/")
        shown = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        giving_up = threading.Timer(GIVEN_UP_S, server.shutdown)
        giving_up.start()
        server.serve_forever(poll_interval=0.1)
        giving_up.cancel()
        shown.terminate()
        shown.wait()
    if not found:
        raise SystemExit(f"{page}: the browser has said nothing for {GIVEN_UP_S} s")
    return found


class Server(BaseHTTPRequestHandler):
    """Sends the page, and ends when its times have come."""

    def __init__(self, page: bytes, found: dict[str, Any], *connection: Any) -> None:
        self._page, self._found = page, found
        super().__init__(*connection)

    def do_GET(self) -> None:
        """The page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self._page)

    def do_POST(self) -> None:
        """The times."""
        self._found |= json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        threading.Thread(target=self.server.shutdown).start()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    main()
