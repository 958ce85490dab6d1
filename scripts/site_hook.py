"""What mkdocs does beside the pages of docs/: pages from elsewhere in the project, and two that are made of the code.

A link leads to where its file is in the project; `linked` makes of it what leads to the same page of the site.
"""

import importlib
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# Pages and files that lie outside docs/, by their places on the site.
ELSEWHERE = {
    "index.md": "README.md",
    **{name: name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "CITATION.cff")},
    **{str(path.relative_to(ROOT)): str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("studies/**/*.md"))},
}
_LINK = re.compile(r"(\]\()([^)#:]+)([)#])")
_PLAIN = re.compile(r"(<pre><span></span>|)<code>([^<]*)</code>")
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from elsewhere, and those of the commands and of Python."""
    made = {place: (ROOT / source).read_text(encoding="utf-8") for place, source in ELSEWHERE.items()}
    for place, text in (made | {"commands.md": commands(), "api.md": python()}).items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let the links of a page lead to pages of the site."""
    place = page.file.src_uri
    source = ELSEWHERE.get(place, f"docs/{place}")
    pieces = _CODE.split(markdown)
    return "".join(piece if number % 2 else linked(piece, place, source) for number, piece in enumerate(pieces))


def on_page_content(html: str, **_: Any) -> str:
    """Let long commands go over several lines, but break no option at its hyphens."""

    def lines(code: re.Match[str]) -> str:
        words = re.sub(r"[^\s<]*-[^\s<]*", r"<span>\g<0></span>", code[2])
        return f'{code[1]}<code class="{"lines" if code[1] else "options"}">{words}</code>'

    return _PLAIN.sub(lines, html)


def linked(text: str, place: str, source: str) -> str:
    """The text of the file `source`, which is the page `place`, with the site's links."""
    homes = {there: here for here, there in ELSEWHERE.items()}

    def of(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        there = homes.get(target, target.removeprefix("docs/"))
        return match[1] + posixpath.relpath(there, posixpath.dirname(place) or ".") + match[3]

    return _LINK.sub(of, text)


def commands() -> str:
    """The page of all commands, from their parsers."""
    from fewshot_nas.cli.names import COMMANDS

    os.environ["COLUMNS"] = "76"
    helps = {name: importlib.import_module(f"fewshot_nas.{name}")._parser().format_help() for name in COMMANDS}
    sections = (f"## {name}\n\n```text\n{text.strip()}\n```\n" for name, text in helps.items())
    return "# Commands\n\n`fewshot-nas COMMAND`, or `python -m fewshot_nas.COMMAND`.\n\n" + "\n".join(sections)


def python() -> str:
    """The page of what `import fewshot_nas` gives, from the docstrings."""
    import fewshot_nas

    names = sorted(name for name in fewshot_nas.__all__ if name.islower())
    functions = "\n".join(f"::: fewshot_nas.api.{name}\n" for name in names)
    return f"# Python\n\nEach one is a name of `fewshot_nas`.\n\n::: fewshot_nas.run.Run\n\n{functions}"
