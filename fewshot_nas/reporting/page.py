"""The report as one HTML page that needs neither a server nor a network; and its figures for papers."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fewshot_nas.cli.names import extra
from fewshot_nas.records.files import as_json, replacing
from fewshot_nas.reporting.figures import (
    accuracy_figure,
    columns,
    cost_figure,
    loss_figure,
    ranking_figure,
    tau_figure,
    truth_figure,
)
from fewshot_nas.reporting.gather import Study
from fewshot_nas.reporting.searched import board_figure, confusion_figure, search_figure, shown_searches
from fewshot_nas.reporting.sections import head, sections
from fewshot_nas.reporting.style import BLUE, ORANGE, Figure, phase_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing


def render(study: Study) -> str:
    # Here, so that the command's --help need not wait for it.
    from plotly.offline import get_plotlyjs

    template = Template(files("fewshot_nas.reporting").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(f"{study.save}: fewshot_nas report"),
        head=head(study),
        sections="\n".join(sections(study)),
        foot="Written by <code>python -m fewshot_nas.report</code>. Everything is in this one file.",
        columns=_json(columns(study)),
        figures=_json(as_json(dict(figures(study)))),
        plotly=get_plotlyjs(),
    )


def figures(study: Study) -> Iterator[tuple[str, Figure]]:
    """The figures for which there are data, by the names that the sections use."""
    if study.phase_rows or study.proxy_rows:
        yield "ranking", ranking_figure(study)
    for phase in study.phases:
        if phase.compared:
            yield f"truth {phase.name}", truth_figure(study, phase)
        if phase.evaluation:
            yield f"cost {phase.name}", cost_figure(study, phase.name, phase.evaluation)
    if study.answer:
        yield "confusion", confusion_figure(study.answer)
    if study.cream and study.cream.boards:
        yield "board", board_figure(study.cream)
    for name, pair in shown_searches(study.searches).items():
        if pair[0].archs:
            yield f"search {name}", search_figure(*pair)
    yield from _training_figures(study)


def _training_figures(study: Study) -> Iterator[tuple[str, Figure]]:
    epochs = [epoch for phase in study.phases for epoch in phase.log.epochs]
    if any(epoch.tau for epoch in epochs):
        yield "tau", tau_figure(study)
    if any(epoch.loss for epoch in epochs):
        yield "loss", loss_figure(study)
    if any(epoch.top1 for epoch in epochs):
        yield "accuracy", accuracy_figure(study)


def _json(value: Mapping[str, Any]) -> str:
    """JSON that is safe inside a script element."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


# ---- for papers, as SVG and PNG: what `figures` describes for plotly.js is drawn with matplotlib ---------------------

_COLUMN, _PANEL = 3.3, 1.8  # inches: the width of a column in a two-column paper, the side of one of several panels
_ALONE = ("ranking", "cost ", "tau", "board")  # how the names begin of the figures that are drawn one by one
_MARKS = {"circle": "o", "circle-open": "o", "diamond": "D"}
_LOOK: Mapping[Any, Any] = MappingProxyType(
    {
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.titlesize": 8,
        "legend.fontsize": 6,
        "legend.frameon": False,
        "figure.dpi": 200,  # in a notebook
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "fewshot_nas",  # the same figure gives the same file
        "savefig.dpi": 300,
        "savefig.bbox": "tight",
    }
)


def drawings(study: Study) -> dict[str, "Drawing"]:
    """The figures for which there are data, by name.

    Raises:
        InputError: matplotlib is not installed.
    """
    with extra("matplotlib", "figures").rc_context(dict(_LOOK)):
        return dict(_drawings(study))


def write_figures(study: Study, directory: Path) -> list[Path]:
    """Write the figures for which there are data, and return their paths.

    Raises:
        InputError: matplotlib is not installed.
    """
    paths, drawn = [], drawings(study)
    with extra("matplotlib", "figures").rc_context(dict(_LOOK)):
        for name, drawing in drawn.items():
            for ending, metadata in (("svg", {"Date": None}), ("png", {})):
                paths.append(directory / f"{name}.{ending}")
                with replacing(paths[-1]) as stream:
                    drawing.savefig(stream, format=ending, metadata=metadata)
    return paths


def _drawings(study: Study) -> Iterator[tuple[str, "Drawing"]]:
    """Each figure in a column of its own; the phases' figures of the truth as panels of one."""
    from matplotlib.figure import Figure as Drawing

    shared, found = columns(study), dict(figures(study))
    truths = {name.removeprefix("truth "): each for name, each in found.items() if name.startswith("truth ")}
    for name, each in found.items():
        if truths and name == f"truth {next(iter(truths))}":
            yield "truth", _panels(truths)
        elif name.startswith(_ALONE):
            rows = len(each["layout"]["yaxis"].get("categoryarray", ()))
            drawing = Drawing(figsize=(_COLUMN, 0.6 + 0.2 * rows if rows else 2.2), layout="constrained")
            _draw(drawing.subplots(), each, shared)
            yield name.replace(" ", "_"), drawing


def _panels(truths: Mapping[str, Figure]) -> "Drawing":
    from matplotlib.figure import Figure as Drawing

    across = min(len(truths), 4)
    down = math.ceil(len(truths) / across)
    drawing = Drawing(figsize=(_PANEL * across, _PANEL * down), layout="constrained")
    panels = drawing.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (phase, each) in zip(panels, truths.items(), strict=False):
        _draw(axes, each, {})
        axes.set(title=phase_title(phase), xlabel="", ylabel="")
        plan = each["layout"]
    for axes in panels[len(truths) - across : len(truths)]:
        axes.tick_params(labelbottom=True)
    for axes in panels[len(truths) :]:
        axes.remove()
    drawing.supxlabel(plan["xaxis"]["title"]["text"], fontsize=8)
    drawing.supylabel(plan["yaxis"]["title"]["text"], fontsize=8)
    return drawing


def _draw(axes: "Axes", figure: Figure, shared: Mapping[str, Sequence[Any]]) -> None:
    """Draw a figure's traces, its reference lines and the titles of its axes."""
    for trace in figure["data"]:
        # A string stands for a column that several figures share.
        x, y = (shared[trace[axis]] if isinstance(trace[axis], str) else trace[axis] for axis in "xy")
        if "fill" in trace:
            axes.fill(x, y, color=BLUE, alpha=0.16, linewidth=0)
        else:
            _plot(axes, trace, x, y)
    plan = figure["layout"]
    for shape in plan["shapes"]:
        line, style = shape["line"], "--" if "dash" in shape["line"] else "-"
        across = axes.axvline if shape.get("yref") == "paper" else axes.axhline
        across(shape["x0" if shape.get("yref") == "paper" else "y0"], color=line["color"], linestyle=style, lw=0.8)
    axes.set(xlabel=plan["xaxis"]["title"]["text"], ylabel=plan["yaxis"]["title"]["text"])
    if "categoryarray" in plan["yaxis"]:
        axes.invert_yaxis()
    if plan["showlegend"]:
        axes.legend()


def _plot(axes: "Axes", trace: Figure, x: Sequence[Any], y: Sequence[Any]) -> None:
    marker, line = trace.get("marker", {}), trace.get("line", {})
    several = isinstance(marker.get("symbol"), list)  # one for each point: stars among circles
    look: dict[str, Any] = {"color": line.get("color", marker.get("color")), "label": trace.get("name")}
    look |= {"linestyle": "-" if "lines" in trace["mode"] else "none", "linewidth": 1}
    look |= {"drawstyle": "steps-post"} if line.get("shape") == "hv" else {}
    if "markers" in trace["mode"]:
        symbol = "circle" if several else marker.get("symbol", "circle")
        look |= {"marker": _MARKS[symbol], "markersize": 1.5 if several else marker["size"] / 2.5}
        look |= {"fillstyle": "none" if symbol.endswith("open") else "full", "alpha": marker.get("opacity", 1)}
        look |= {"markeredgewidth": 0.8 if symbol.endswith("open") else 0}
        # Thousands of dots become an image inside the SVG; most viewers could not show them as vectors.
        look["rasterized"] = trace["type"] == "scattergl"
    axes.plot(x, y, **look)
    if "error_x" in trace:
        bars = trace["error_x"]
        axes.errorbar(x, y, xerr=[bars["arrayminus"], bars["array"]], fmt="none", ecolor=bars["color"], elinewidth=1.2)
    if several:
        stars = [place for place, symbol in enumerate(marker["symbol"]) if symbol == "star"]
        axes.plot([x[place] for place in stars], [y[place] for place in stars], "*", color=ORANGE, markersize=5)
