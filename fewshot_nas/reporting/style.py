"""The style of the page: colours, fonts, axes and reference lines of figures, HTML elements, names and numbers."""

from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

from fewshot_nas.ranking.interval import Interval, shown
from fewshot_nas.results.scores import TITLES

Figure = dict[str, Any]

# Okabe and Ito's colours, which colour-blind readers can distinguish.
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#6b7785"
PALE_BLUE, EDGE = "rgba(0, 114, 178, 0.16)", "#b8c1c9"
_GRID, _INK = "#e4e8ec", "#26323d"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_ABOVE = {"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
_MONOSPACE = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def layout(x_title: str, y_title: str, *, height: int, legend: bool = False) -> Figure:
    """Axes with their titles; the figure is as wide as the page."""
    return {
        "height": height,
        "margin": {"l": 12, "r": 16, "t": 40 if legend else 16, "b": 12},
        "font": {"family": _FONT, "size": 12, "color": _INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "hoverlabel": {
            "font": {"family": _MONOSPACE, "size": 10, "color": _INK},
            "bgcolor": "#fff",
            "bordercolor": EDGE,
            "align": "left",
        },
        "modebar": {"bgcolor": "rgba(255,255,255,0.8)", "color": "#a3adb6", "activecolor": _INK},
        "showlegend": legend,
        "legend": {"orientation": "h"} | _ABOVE,
        "xaxis": _axis(x_title),
        "yaxis": _axis(y_title),
        "shapes": [],
        "annotations": [],
    }


def across(axis: str, value: float) -> Figure:
    """A dashed line through the whole figure, at a value of the axis `x` or `y`."""
    other = "y" if axis == "x" else "x"
    ends = {f"{axis}0": value, f"{axis}1": value, f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper"}
    return {"type": "line", "layer": "below", "line": {"color": GREY, "width": 1.5, "dash": "dash"}} | ends


def padded(values: Iterable[float]) -> list[float] | None:
    """A range with a margin at both ends; None if there are no values, so that plotly chooses the range."""
    known = sorted(values)
    if not known:
        return None
    air = 0.06 * (known[-1] - known[0]) or 1.0
    return [known[0] - air, known[-1] + air]


def _axis(title: str) -> Figure:
    return {
        "title": {"text": title, "standoff": 8},
        "automargin": True,
        "gridcolor": _GRID,
        "linecolor": EDGE,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": EDGE,
        "ticklen": 4,
    }


def section(title: str, content: Iterable[str]) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(content) + "\n</section>"


def note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def missing(text: str, command: str) -> str:
    """A text for a section that has nothing to show: the reason, and the command that changes it."""
    return f'<p class="missing">{escape(text)} This command changes it:<br><code>{escape(command)}</code></p>'


def plot(name: str) -> str:
    """The place where the page's script draws the figure of this name."""
    return f'<div class="plot" data-figure="{escape(name)}"></div>'


def code(text: str) -> str:
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


# ---- the spelling of names and numbers -------------------------------------------------------------------------------

_PROXIES = {"depth": "depth", "params": "parameters", "macs": "MACs"}


class Unit(NamedTuple):
    """A power of ten that makes numbers easy to read."""

    name: str
    size: float

    def of(self, value: float) -> float:
        """A number in this unit, rounded to four decimal places."""
        return round(value / self.size, 4)


def unit_of(value: float) -> Unit:
    """The unit for a number of MACs or parameters."""
    return Unit("G", 1e9) if value >= 1e9 else Unit("M", 1e6) if value >= 1e6 else Unit("k", 1e3)


def quantity(value: float) -> str:
    """`2.105 G`, always with four digits."""
    unit = unit_of(value)
    return f"{value / unit.size:#.4g} {unit.name}"


def round_quantity(value: float) -> str:
    """`2.1 G`, with only as many digits as a round number needs."""
    unit = unit_of(value)
    return f"{value / unit.size:g} {unit.name}"


def phase_title(name: str) -> str:
    """The title of a phase's row or panel."""
    return "1 (one-shot)" if name == "1" else name


def prediction_title(predicted: str, metric: str) -> str:
    """What the ranker's percentages are of.

    Args:
        predicted: as `ranking.json` has it: `accuracy alone`, or `score`.
        metric: of the scores.
    """
    return "predicted top-1 alone" if predicted == "accuracy alone" else f"predicted {TITLES[metric]}"


def proxy_title(name: str) -> str:
    return _PROXIES[name]


def interval(value: Interval) -> str:
    """`0.61 [0.38, 0.77]`."""
    return value.text(decimal)


def decimal(value: float) -> str:
    """`0.610`; negative numbers have a real minus sign."""
    return shown(value).replace("-", "\N{MINUS SIGN}")
