"""The figures of the page, as plain values for plotly.js: rankings, scores, and trainings, one phase after the other.

A string that begins with `@` in a trace stands for a column of the page's data (`columns`), so that
seven phases that score 45,000 archs share one list of codes and one of MACs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from statistics import fmean
from typing import Any

from fewshot_nas.ranking.correlation import Correlation
from fewshot_nas.reporting.gather import PhaseRecord, Span, Study
from fewshot_nas.reporting.log import Epoch
from fewshot_nas.reporting.ranked import macs_front
from fewshot_nas.reporting.style import (
    BLUE,
    EDGE,
    GREEN,
    GREY,
    ORANGE,
    PALE_BLUE,
    Figure,
    Unit,
    across,
    interval,
    layout,
    padded,
    phase_title,
    proxy_title,
    unit_of,
)
from fewshot_nas.results.evaluations import Evaluation
from fewshot_nas.results.scores import TITLES

_MANY = 2_000  # from this many archs on, points overlap so much that only their density is visible
_RINGS = {"color": ORANGE, "size": 9, "symbol": "circle-open", "line": {"width": 2}}


def columns(study: Study) -> dict[str, list[Any]]:
    """The data that the figures of all scored archs share: ids, codes, MACs, and each phase's scores."""
    evaluations = {phase.name: phase.evaluation for phase in study.phases if phase.evaluation}
    ids = list(dict.fromkeys(arch_id for each in evaluations.values() for arch_id in each.scores))
    unit = _unit(study)
    shared: dict[str, list[Any]] = {
        "@ids": [escape(arch_id) for arch_id in ids],
        "@codes": [study.codes[arch_id] for arch_id in ids],
        "@macs": [unit.of(study.costs[arch_id].macs) for arch_id in ids],
    }
    scores = {
        f"@score {name}": [round(each.scores[key].acc, 3) if key in each.scores else None for key in ids]
        for name, each in evaluations.items()
    }
    return shared | scores


def ranking_figure(study: Study) -> Figure:
    """Tau of every phase and proxy with its interval, and a line at the best proxy."""
    phases = _rows({phase_title(name): row for name, row in study.phase_rows.items()}, BLUE, "circle")
    proxies = _rows({proxy_title(name): row for name, row in study.proxy_rows.items()}, GREY, "diamond")
    names = [*phases["y"], *proxies["y"]]
    plan = layout("Kendall's tau with its 95 % interval", "", height=100 + 28 * len(names))
    plan["yaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": names[::-1], "showgrid": False}
    if study.best_proxy:
        plan["shapes"].append(across("x", study.proxy_rows[study.best_proxy].kendall.value))
    return {"data": [phases, proxies], "layout": plan}


def truth_figure(study: Study, phase: PhaseRecord) -> Figure:
    """A phase's scores against stand-alone accuracies; all phases have the same axes."""
    ids = list(phase.compared)
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": [study.truth[arch_id].acc for arch_id in ids],
        "y": [round(phase.compared[arch_id], 3) for arch_id in ids],
        "customdata": [escape(arch_id) for arch_id in ids],
        "text": [study.codes[arch_id] for arch_id in ids],
        "marker": {"color": BLUE, "size": 8, "opacity": 0.75},
        "hovertemplate": "%{customdata}<br>%{text}<br>stand-alone %{x:.2f} %, supernet %{y:.2f} %<extra></extra>",
    }
    plan = layout("stand-alone top-1, %", f"supernet's {TITLES[study.metric]}, %", height=270)
    plan["xaxis"]["range"] = padded(entry.acc for entry in study.truth.values())
    plan["yaxis"]["range"] = padded(score for each in study.phases for score in each.compared.values())
    return {"data": [points], "layout": plan}


def cost_figure(study: Study, name: str, evaluation: Evaluation) -> Figure:
    """Scores of all archs against their MACs, with the front, and with the ground truth's archs marked."""
    cloud = {"x": "@macs", "y": f"@score {name}", "customdata": "@ids", "text": "@codes"}
    edge = _points(study, evaluation, macs_front(evaluation.scores, study.costs))
    true = {study.codes[arch_id] for arch_id in study.truth}
    known = _points(study, evaluation, [key for key, scored in evaluation.scores.items() if scored.code in true])
    unit = _unit(study)
    common = {
        "type": "scattergl",
        "hovertemplate": f"%{{customdata}}<br>%{{text}}<br>%{{x}} {unit.name} MACs, %{{y:.2f}} %<extra></extra>",
    }
    many = len(evaluation.scores) > _MANY
    dots = {"color": BLUE, "size": 3 if many else 6, "opacity": 0.2 if many else 0.6}
    data = [
        {"name": "scored archs", "mode": "markers", "marker": dots} | cloud,
        {"name": "best within the MACs", "mode": "lines", "line": {"color": GREEN, "width": 2, "shape": "hv"}} | edge,
        {"name": "in the ground truth", "mode": "markers", "marker": _RINGS} | known,
    ]
    plan = layout(f"MACs, {unit.name}", f"supernet's {TITLES[study.metric]}, %", height=460, legend=True)
    plan["legend"]["itemsizing"] = "constant"
    return {"data": [common | trace for trace in data], "layout": plan}


def _rows(rows: Mapping[str, Correlation], colour: str, symbol: str) -> Figure:
    """Points with their intervals, a line for each name."""
    taus = {name: row.kendall for name, row in rows.items() if row.kendall.defined}
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [tau.high - tau.value for tau in taus.values()],
        "arrayminus": [tau.value - tau.low for tau in taus.values()],
        "color": colour,
        "thickness": 2,
        "width": 0,
    }
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [tau.value for tau in taus.values()],
        "y": list(taus),
        "error_x": bars,
        "marker": {"color": colour, "symbol": symbol, "size": 10},
        "text": [interval(tau) for tau in taus.values()],
        "hovertemplate": "%{y}<br>tau %{text}<extra></extra>",
    }


def _points(study: Study, evaluation: Evaluation, ids: Sequence[str]) -> Figure:
    unit = _unit(study)
    return {
        "x": [unit.of(study.costs[arch_id].macs) for arch_id in ids],
        "y": [round(evaluation.scores[arch_id].acc, 3) for arch_id in ids],
        "customdata": [escape(arch_id) for arch_id in ids],
        "text": [study.codes[arch_id] for arch_id in ids],
    }


def _unit(study: Study) -> Unit:
    return unit_of(max((cost.macs for cost in study.costs.values()), default=0))


Quantity = Callable[[Epoch], float | None]


def tau_figure(study: Study) -> Figure:
    """Tau after each epoch with its interval, and a line at the best proxy."""
    data = [trace for span in study.spans for trace in _taus(span)]
    plan = _timeline("Kendall's tau", study.spans, height=380)
    if study.best_proxy:
        plan["shapes"].append(across("y", study.proxy_rows[study.best_proxy].kendall.value))
    return {"data": data, "layout": plan}


def loss_figure(study: Study) -> Figure:
    return _curves(
        study,
        "training loss",
        [
            ("largest", BLUE, lambda epoch: epoch.loss.get("largest")),
            ("sampled", GREEN, _sampled_loss),
            ("smallest", ORANGE, lambda epoch: epoch.loss.get("smallest")),
            ("the step's path", BLUE, lambda epoch: epoch.loss.get("path")),
        ],
    )


def accuracy_figure(study: Study) -> Figure:
    """Accuracy on the validation images after each epoch."""
    return _curves(
        study,
        "validation top-1, %",
        [
            ("largest", BLUE, lambda epoch: epoch.top1.get("largest")),
            ("ground truth's archs, mean", GREEN, lambda epoch: _mean_of(epoch.top1, study.truth.keys())),
            ("smallest", ORANGE, lambda epoch: epoch.top1.get("smallest")),
            ("the board's best path", BLUE, lambda epoch: epoch.top1.get("best")),
        ],
    )


def _taus(span: Span) -> Iterator[Figure]:
    known = span.taus
    x = [span.x(epoch) for epoch, _ in known]
    edges = [tau.low for _, tau in known] + [tau.high for _, tau in known][::-1]
    band = {"x": x + x[::-1], "y": edges, "fill": "toself", "fillcolor": PALE_BLUE, "line": {"width": 0}}
    yield {"type": "scatter", "mode": "lines", "hoverinfo": "skip"} | band
    chosen = [epoch.number == span.phase.log.chosen for epoch, _ in known]
    yield {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x,
        "y": [tau.value for _, tau in known],
        "line": {"color": BLUE, "width": 2},
        "marker": {
            "color": [ORANGE if each else BLUE for each in chosen],
            "symbol": ["star" if each else "circle" for each in chosen],
            "size": [13 if each else 5 for each in chosen],
            "opacity": 1,
            "line": {"width": 0},
        },
        "text": [f"phase {span.phase.name}, epoch {epoch.number}<br>tau {interval(tau)}" for epoch, tau in known],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _curves(study: Study, y_title: str, quantities: Sequence[tuple[str, str, Quantity]]) -> Figure:
    curves = (_curve(study.spans, *quantity) for quantity in quantities)
    data = [curve for curve in curves if any(value is not None for value in curve["y"])]
    return {"data": data, "layout": _timeline(y_title, study.spans, height=340, legend=True)}


def _curve(spans: Iterable[Span], name: str, colour: str, quantity: Quantity) -> Figure:
    """One quantity over all phases, with gaps between phases and where it was not measured."""
    points: list[tuple[int | None, float | None, str]] = []
    for span in spans:
        for epoch in span.phase.log.epochs:
            value = quantity(epoch)
            if value is not None and value == value:
                points.append((span.x(epoch), value, f"phase {span.phase.name}, epoch {epoch.number}"))
        points.append((None, None, ""))
    x, y, text = map(list, zip(*points, strict=True))
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": x,
        "y": y,
        "text": text,
        "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "size": 4},
        "hovertemplate": f"%{{text}}<br>{name} %{{y:.4g}}<extra></extra>",
    }


def _timeline(y_title: str, spans: Sequence[Span], *, height: int, legend: bool = False) -> Figure:
    """Axes with a line and a name where each phase begins; the name is vertical, because short phases are narrow."""
    plan = layout("epochs trained, all phases", y_title, height=height, legend=legend)
    for span in spans[1:]:
        plan["shapes"].append(across("x", span.start + 0.5) | {"line": {"color": EDGE, "width": 1}})
    for span in spans if len(spans) > 1 else ():
        place = {"x": span.start + 0.5, "y": 1.01, "yref": "paper", "xanchor": "center", "yanchor": "bottom"}
        look = {"textangle": -90, "showarrow": False, "font": {"size": 11, "color": GREY}}
        plan["annotations"].append({"text": span.phase.name} | place | look)
        plan["margin"]["t"] = max(plan["margin"]["t"], 16 + 7 * len(span.phase.name))
    plan["legend"] |= {"y": -0.28, "yanchor": "top"}
    end = max((span.end for span in spans), default=0)
    plan["xaxis"] |= {"range": [0, end + 1], "dtick": 1 if end <= 10 else None}
    return plan


def _sampled_loss(epoch: Epoch) -> float | None:
    return _mean_of(epoch.loss, [name for name in epoch.loss if name.startswith("sampled")])


def _mean_of(values: Mapping[str, float], keys: Iterable[str]) -> float | None:
    known = [values[key] for key in keys if key in values]
    return fmean(known) if known else None
