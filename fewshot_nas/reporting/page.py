"""The report as one HTML page that needs neither a server nor a network."""

import json
import math
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from fewshot_nas.reporting.answered import confusion_figure
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
from fewshot_nas.reporting.path_search import board_figure
from fewshot_nas.reporting.searched import search_figure, shown_searches
from fewshot_nas.reporting.sections import head, sections
from fewshot_nas.reporting.style import Figure


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
        figures=_json(_defined(dict(figures(study)))),
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


def _defined(value: Any) -> Any:
    """The value, with null instead of NaN."""
    if isinstance(value, dict):
        return {key: _defined(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_defined(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
