"""The page's figures over time, with all phases one after the other."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean

from fewshot_nas.reporting.gather import Span, Study
from fewshot_nas.reporting.log import Epoch
from fewshot_nas.reporting.style import BLUE, EDGE, GREEN, GREY, ORANGE, PALE_BLUE, Figure, across, layout
from fewshot_nas.reporting.wording import interval

Quantity = Callable[[Epoch], float | None]


def tau_figure(study: Study) -> Figure:
    """Tau after each epoch with its interval, and a line at the best proxy."""
    data = [trace for span in study.spans for trace in _taus(span)]
    plan = _timeline("Kendall's tau", study.spans, height=380)
    if study.best_proxy:
        plan["shapes"].append(across("y", study.proxy_rows[study.best_proxy].kendall.value))
    return {"data": data, "layout": plan}


def loss_figure(study: Study) -> Figure:
    """Mean training loss of each epoch."""
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
