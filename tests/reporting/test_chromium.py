"""The page in a real browser: it draws, without a word on the console, wide and narrow."""

import re
import shutil
import subprocess

import pytest

from fewshot_nas.reporting.page import render

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --enable-unsafe-swiftshader --allow-file-access-from-files"
    " --enable-logging=stderr --v=0 --window-size=1280,2400 --virtual-time-budget=5000 --dump-dom"
)
# What a software renderer says of itself.
HARMLESS = re.compile(r"WebGL|GL Driver Message|swiftshader")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


@pytest.fixture
def opened(tmp_path):
    """Opens a page; returns its elements as text after the scripts have run, and the console's lines."""

    def run(page, *flags):
        path = tmp_path / "page.html"
        path.write_text(page, encoding="utf-8")
        command = [BROWSER, *FLAGS.split(), *flags, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        console = [line for line in shown.stderr.splitlines() if ":CONSOLE" in line and not HARMLESS.search(line)]
        return shown.stdout, console

    return run


def with_script(page, script):
    """The page, and a script that runs when it has been drawn."""
    return page.replace("</body>", f"<script>{script}</script></body>")


def test_all_figures_are_drawn_without_a_word(study, opened):
    elements, console = opened(render(study))
    assert console == []
    places = elements.count('data-figure="')
    assert places == 7
    assert len(re.findall(r'class="plot[^"]*js-plotly-plot', elements)) == places
    assert len(re.findall(r'<path class="point\b', elements)) >= 2 * 12 + 5


def test_an_error_would_be_noticed(study, opened):
    _, console = opened(render(study).replace('id="columns"', 'id="other"'))
    assert len(console) == 1
    assert "Uncaught TypeError" in console[0]


@pytest.mark.parametrize(("most", "drawn", "name"), [(5000, 60, "scored archs"), (25, 20, "scored archs, one of 3")])
def test_without_webgl_the_cloud_is_drawn_all_the_same(study, opened, most, drawn, name):
    """Of a large one only a part, because each point costs time; the legend says so."""
    page = render(study)
    assert "const most = 5000;" in page
    elements, console = opened(page.replace("const most = 5000;", f"const most = {most};"), "--disable-3d-apis")
    assert console == []
    cost = elements[elements.index('id="cost"') : elements.index("<h3>Best archs")]
    assert "<canvas" not in cost
    assert len(re.findall(r'<path class="point\b', cost)) == drawn + 12
    assert f">{name}</text>" in cost


def test_a_button_shows_its_phase(study, opened):
    click = "document.querySelector('[data-phase=\"1\"]').click()"
    elements, console = opened(with_script(render(study), click))
    assert console == []
    assert re.findall(r'data-phase="(.)" aria-pressed="true"', elements) == ["1"]
    assert re.findall(r'data-panel="(.)" hidden', elements) == ["2"]


def test_a_narrow_window_does_not_scroll_sideways(study, opened, tmp_path):
    """In a frame, for a headless window has a least width of its own."""
    (tmp_path / "narrow.html").write_text(render(study), encoding="utf-8")
    measure = (
        "const frame = document.querySelector('iframe'); frame.onload = () => setTimeout(() => {"
        "const page = frame.contentDocument.documentElement;"
        "document.body.dataset.widths = page.clientWidth + ' ' + page.scrollWidth; }, 2000)"
    )
    frame = '<iframe src="narrow.html" style="width:400px;height:3000px;border:0"></iframe>'
    elements, console = opened(f"<!doctype html><body>{frame}<script>{measure}</script></body>")
    assert console == []
    visible, needed = map(int, re.search(r'data-widths="(\d+) (\d+)"', elements).groups())
    assert 380 <= visible <= 400
    assert needed == visible
