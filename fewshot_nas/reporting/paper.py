"""Figures for papers, as SVG and PNG; drawn with matplotlib."""

from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import Agreement
from fewshot_nas.records.files import replacing
from fewshot_nas.reporting.best_archs import macs_front
from fewshot_nas.reporting.gather import Study
from fewshot_nas.reporting.path_search import PathSearch
from fewshot_nas.reporting.style import BLUE, GREEN, GREY, ORANGE
from fewshot_nas.reporting.wording import metric_title, phase_title, proxy_title, unit_of
from fewshot_nas.results.evaluations import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMN = 3.3  # inches; the width of a column in a two-column paper
_LOOK: Mapping[Any, Any] = MappingProxyType(
    {
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "fewshot_nas",  # the same figure gives the same file
        "savefig.dpi": 300,
        "savefig.bbox": "tight",
    }
)


def write_figures(study: Study, directory: Path) -> list[Path]:
    """Write the figures for which there are data, and return their paths.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
    except ImportError:
        raise InputError("--figures needs matplotlib: pip install 'fewshot-nas[figures]'") from None
    paths = []
    with rc_context(dict(_LOOK)):
        for name, figure in _figures(study):
            for ending, metadata in (("svg", {"Date": None}), ("png", {})):
                paths.append(directory / f"{name}.{ending}")
                with replacing(paths[-1]) as stream:
                    figure.savefig(stream, format=ending, metadata=metadata)
    return paths


def _figures(study: Study) -> Iterator[tuple[str, "Figure"]]:
    if study.phase_rows or study.proxy_rows:
        yield "ranking", _ranking(study)
    if any(phase.compared for phase in study.phases):
        yield "truth", _truth(study)
    for phase in study.phases:
        if phase.evaluation:
            yield f"cost_{phase.name}", _cost(study, phase.evaluation)
    if any(epoch.tau for phase in study.phases for epoch in phase.log.epochs):
        yield "tau", _tau(study)
    if study.cream and study.cream.boards:
        yield "board", _board(study.cream)


def _ranking(study: Study) -> "Figure":
    count = len(study.phase_rows) + len(study.proxy_rows)
    figure, axes = _single(0.6 + 0.2 * count)
    names = [phase_title(name) for name in study.phase_rows] + [proxy_title(name) for name in study.proxy_rows]
    _intervals(axes, study.phase_rows, 0, BLUE, "o")
    _intervals(axes, study.proxy_rows, len(study.phase_rows), GREY, "D")
    axes.set_yticks(range(count), names)
    axes.invert_yaxis()
    axes.set_xlabel("Kendall's tau, 95 % interval")
    if study.best_proxy:
        axes.axvline(study.proxy_rows[study.best_proxy].kendall.value, color=GREY, linestyle="--", linewidth=0.8)
    return figure


def _intervals(axes: "Axes", rows: Mapping[str, Agreement], first: int, colour: str, marker: str) -> None:
    for place, row in enumerate(rows.values(), start=first):
        axes.plot([row.kendall.low, row.kendall.high], [place, place], color=colour, linewidth=1.2)
        axes.plot(row.kendall.value, place, marker, color=colour, markersize=4)


def _truth(study: Study) -> "Figure":
    from matplotlib.figure import Figure

    phases = [phase for phase in study.phases if phase.compared]
    across = min(len(phases), 4)
    down = ceil(len(phases) / across)
    figure = Figure(figsize=(1.8 * across, 1.8 * down), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, phase in zip(panels, phases, strict=False):
        truth = [study.truth[arch_id].acc for arch_id in phase.compared]
        axes.plot(truth, list(phase.compared.values()), ".", color=BLUE, markersize=4)
        axes.set_title(phase_title(phase.name), fontsize=8)
    for axes in panels[len(phases) - across : len(phases)]:
        axes.tick_params(labelbottom=True)
    for axes in panels[len(phases) :]:
        axes.remove()
    figure.supxlabel("stand-alone top-1, %", fontsize=8)
    figure.supylabel(f"supernet's {metric_title(study.metric)}, %", fontsize=8)
    return figure


def _cost(study: Study, evaluation: Evaluation) -> "Figure":
    figure, axes = _single(2.4)
    unit = unit_of(max(study.costs[arch_id].macs for arch_id in evaluation.scores))

    def points(ids: list[str]) -> tuple[list[float], list[float]]:
        return [study.costs[key].macs / unit.size for key in ids], [evaluation.scores[key].acc for key in ids]

    known = [arch_id for arch_id in study.truth if arch_id in evaluation.scores]
    # 45,000 dots become an image inside the SVG; most viewers could not show them as vectors.
    dots: dict[str, Any] = {"markersize": 1, "alpha": 0.35, "markeredgewidth": 0, "rasterized": True}
    axes.plot(*points(list(evaluation.scores)), ".", color=BLUE, **dots)
    axes.plot(*points(macs_front(evaluation.scores, study.costs)), color=GREEN, linewidth=1, drawstyle="steps-post")
    axes.plot(*points(known), "o", color=ORANGE, markersize=3.5, fillstyle="none", markeredgewidth=0.8)
    axes.set_xlabel(f"MACs, {unit.name}")
    axes.set_ylabel(f"supernet's {metric_title(study.metric)}, %")
    return figure


def _tau(study: Study) -> "Figure":
    figure, axes = _single(2.0)
    for span in study.spans:
        x = [span.x(epoch) for epoch, _ in span.taus]
        low, middle, high = ([getattr(tau, name) for _, tau in span.taus] for name in ("low", "value", "high"))
        axes.fill_between(x, low, high, color=BLUE, alpha=0.16, linewidth=0)
        axes.plot(x, middle, color=BLUE, linewidth=1, marker=".", markersize=3)
        if span.start:
            axes.axvline(span.start + 0.5, color=GREY, linewidth=0.4)
    axes.set_xlabel("epochs trained, all phases")
    axes.set_ylabel("Kendall's tau")
    if study.best_proxy:
        axes.axhline(study.proxy_rows[study.best_proxy].kendall.value, color=GREY, linestyle="--", linewidth=0.8)
    return figure


def _board(search: PathSearch) -> "Figure":
    figure, axes = _single(2.0)
    for at in search.boards:
        axes.plot([at.epoch] * len(at.accuracies), at.accuracies, ".", color=GREY, markersize=2)
    epochs = [at.epoch for at in search.boards]
    axes.plot(epochs, [at.accuracies[0] for at in search.boards], color=BLUE, linewidth=1)
    validated = [(at.epoch, at.top1) for at in search.boards if at.top1 is not None]
    axes.plot([epoch for epoch, _ in validated], [top1 for _, top1 in validated], color=ORANGE, linewidth=1)
    axes.locator_params("x", integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy, %")
    title = f"paths on the board, the best of them (line): {search.title}"
    axes.set_title(f"{title};\ntop-1 of the best on the ranking images (upper line)", fontsize=6)
    return figure


def _single(height: float) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_COLUMN, height), layout="constrained")
    return figure, figure.subplots()
