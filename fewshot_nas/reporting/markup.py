"""The HTML elements of the page."""

from collections.abc import Collection, Iterable, Sequence
from html import escape


def section(title: str, content: Iterable[str]) -> str:
    """A part of the page under its title."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(content) + "\n</section>"


def note(text: str) -> str:
    """A remark."""
    return f'<p class="note">{escape(text)}</p>'


def missing(text: str, command: str) -> str:
    """A text for a section that has nothing to show: the reason, and the command that changes it."""
    return f'<p class="missing">{escape(text)} This command changes it:<br><code>{escape(command)}</code></p>'


def plot(name: str) -> str:
    """The place where the page's script draws the figure of this name."""
    return f'<div class="plot" data-figure="{escape(name)}"></div>'


def code(text: str) -> str:
    """A code, for a table's cell."""
    return f"<code>{escape(text)}</code>"


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Collection[int] = (), ruled: Collection[int] = ()
) -> str:
    """A table in its own box, so that it can scroll on a narrow screen.

    Args:
        rows: cells in HTML.
        numeric: columns that are aligned to the right.
        ruled: rows with a heavier line above them.
    """

    caption = f"<thead>{_row('th', map(escape, heads), numeric)}</thead>" if heads else ""
    body = "".join(_row("td", row, numeric, ruled=number in ruled) for number, row in enumerate(rows))
    return f'<div class="scroll"><table>{caption}<tbody>{body}</tbody></table></div>'


def _row(tag: str, cells: Iterable[str], numeric: Collection[int], *, ruled: bool = False) -> str:
    opening = '<tr class="ruled">' if ruled else "<tr>"
    classes = {True: ' class="number"', False: ""}
    return opening + "".join(f"<{tag}{classes[i in numeric]}>{cell}</{tag}>" for i, cell in enumerate(cells)) + "</tr>"
