"""The few forms of HTML that the page is made of."""

from collections.abc import Collection, Iterable, Sequence
from html import escape


def section(title: str, content: Iterable[str]) -> str:
    """A part of the page under its title."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(content) + "\n</section>"


def note(text: str) -> str:
    """A remark."""
    return f'<p class="note">{escape(text)}</p>'


def missing(text: str, command: str) -> str:
    """What stands where there is nothing to show: why, and the command that changes it."""
    return f'<p class="missing">{escape(text)} This fills it:<br><code>{escape(command)}</code></p>'


def plot(name: str) -> str:
    """Where the script draws the figure of that name."""
    return f'<div class="plot" data-figure="{escape(name)}"></div>'


def code(text: str) -> str:
    """A code, for a cell."""
    return f"<code>{escape(text)}</code>"


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Collection[int] = (), ruled: Collection[int] = ()
) -> str:
    """A table in a box of its own, in which it scrolls on a narrow screen.

    Args:
        rows: cells in HTML.
        numeric: columns that are set to the right.
        ruled: rows that a heavier line separates from the one above.
    """

    caption = f"<thead>{_row('th', map(escape, heads), numeric)}</thead>" if heads else ""
    body = "".join(_row("td", row, numeric, ruled=number in ruled) for number, row in enumerate(rows))
    return f'<div class="scroll"><table>{caption}<tbody>{body}</tbody></table></div>'


def _row(tag: str, cells: Iterable[str], numeric: Collection[int], *, ruled: bool = False) -> str:
    opening = '<tr class="ruled">' if ruled else "<tr>"
    classes = {True: ' class="number"', False: ""}
    return opening + "".join(f"<{tag}{classes[i in numeric]}>{cell}</{tag}>" for i, cell in enumerate(cells)) + "</tr>"
