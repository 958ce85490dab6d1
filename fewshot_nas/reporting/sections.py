"""The text and the tables of the page. All content from files is escaped."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fewshot_nas.cli.names import command_line
from fewshot_nas.ranking.correlation import Correlation
from fewshot_nas.records.journal import flat
from fewshot_nas.reporting.gather import PhaseRecord, Study
from fewshot_nas.reporting.ranked import best_under, macs_bounds, ranked_table
from fewshot_nas.reporting.searched import answer_section, cream_section, search_sections
from fewshot_nas.reporting.style import (
    code,
    decimal,
    interval,
    missing,
    note,
    phase_title,
    plot,
    proxy_title,
    quantity,
    round_quantity,
    section,
    table,
)
from fewshot_nas.results.evaluations import Evaluation
from fewshot_nas.results.run import SEARCH
from fewshot_nas.results.scores import TITLES


def head(study: Study) -> str:
    """Title, verdict, and the most important numbers."""
    tiles = (_tiles(study) if study.phases or not study.cream else {}) | (study.cream.tiles() if study.cream else {})
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in tiles.items())
    return (
        f'<p class="eyebrow">fewshot_nas report</p>\n<h1>{escape(study.save)}</h1>\n'
        f'<p class="verdict">{escape(verdict(study))}</p>\n{_collapses(study)}<dl class="tiles">{cells}</dl>'
    )


def _collapses(study: Study) -> str:
    """A paragraph for each phase in which nothing was learned."""
    said = {f"phase {phase.name}": phase.log.collapse for phase in study.phases}
    return "".join(f'<p class="verdict">{escape(f"{name}: {text}")}</p>\n' for name, text in said.items() if text)


def _tiles(study: Study) -> dict[str, object]:
    scored = {arch_id for phase in study.phases if phase.evaluation for arch_id in phase.evaluation.scores}
    tiles: dict[str, object] = {"phases": len(study.phases), "archs scored": f"{len(scored):,}"}
    tiles["ground-truth archs"] = len(study.truth)
    if study.best_phase:
        tiles[f"tau, phase {study.best_phase}"] = decimal(study.phase_rows[study.best_phase].kendall.value)
    if study.best_proxy:
        name = proxy_title(study.best_proxy)
        tiles[f"tau, {name} (best proxy)"] = decimal(study.proxy_rows[study.best_proxy].kendall.value)
    return tiles


def verdict(study: Study) -> str:
    """What `fit` or a Cream search found; else whether the supernet ranks better than the best proxy."""
    if study.answer:
        return str(study.answer["sentence"])
    found = study.cream.sentence() if study.cream else ""
    if not study.best_phase or not study.best_proxy:
        return f"{found}It is not known yet how well this supernet ranks." if study.phases else found
    row, proxy = study.phase_rows[study.best_phase], study.proxy_rows[study.best_proxy].kendall.value
    if row.kendall.value <= proxy:
        outcome = "this supernet does not beat it"
    elif row.kendall.low <= proxy:
        outcome = f"{row.n} archs are too few to tell which is better"
    else:
        outcome = "the supernet's whole interval lies above it"
    others = study.proxy_rows[study.best_proxy].n
    over = f" over {others} archs" if others != row.n else ""
    return (
        f"{found}Phase {study.best_phase} ranks {row.n} archs with a tau of {interval(row.kendall)}. Going by"
        f" {proxy_title(study.best_proxy)} alone reaches {decimal(proxy)}{over} without any training: {outcome}."
    )


def sections(study: Study) -> Iterator[str]:
    """The sections in order; a section without data names the command that provides them."""
    if study.answer:
        yield section("The answer", answer_section(study.answer, "fit" in study.searches))
    if study.cream:
        yield section("Cream: search, retraining and test", cream_section(study.cream))
    if study.cream and not study.phases:
        return
    if study.truth or not study.answer:  # `fit` makes no ground truth
        yield section("Phases and proxies", _ranking(study))
        yield section("Supernet against stand-alone training", _truth(study))
    yield section("The ranker", _ranked(study))
    yield section("Searches within bounds", search_sections(study.searches, command_line("search", save=study.save)))
    yield section("Scores against MACs", _cost(study))
    yield section("During training", _training(study))
    yield section("What was run", _provenance(study))


def _truth_command(study: Study) -> str:
    """Trains the ground truth's archs."""
    return command_line("train_stand_alone", save=study.save, target_arch_num="all")


def _score_command(study: Study, phase: PhaseRecord) -> str:
    """Merges scores if they are there, or else makes them."""
    if phase.unmerged:
        return command_line("merge", save=study.save, phase=phase.name, epoch=phase.unmerged[-1])
    return command_line("test", save=study.save, phase=phase.name)


def _ranking(study: Study) -> Iterator[str]:
    if not study.truth:
        yield _no_truth(study)
        return
    yield note(
        f"How well scores, here {TITLES[study.metric]}, order the archs of the ground truth. The proxies need no"
        f" training, so a supernet should beat them.{_line(study)}"
    )
    yield plot("ranking")
    sources = {phase.name: phase.source for phase in study.phases}
    rows = [_ranking_row(phase_title(name), row, sources[name]) for name, row in study.phase_rows.items()]
    rows += [_ranking_row(proxy_title(name), row, "no training") for name, row in study.proxy_rows.items()]
    heads = ("score", "archs", "ties", "tau", "Spearman", "Pearson", "measured in")
    yield table(heads, rows, numeric=(1, 2), ruled=(len(study.phase_rows),))
    yield note("In brackets: 95 % bootstrap intervals over archs. Ties: pairs of equal scores / of equal accuracies.")


def _line(study: Study) -> str:
    return f" The dashed line is the best proxy, {proxy_title(study.best_proxy)}." if study.best_proxy else ""


def _no_truth(study: Study) -> str:
    return missing(
        "There is no ground truth to compare with: run.ground_truth names a file that does not exist.",
        _truth_command(study),
    )


def _ranking_row(name: str, row: Correlation, source: str) -> list[str]:
    ties = f"{row.score_ties} / {row.truth_ties}"
    return [name, str(row.n), ties, *map(interval, (row.kendall, row.spearman, row.pearson)), escape(source)]


def _truth(study: Study) -> Iterator[str]:
    shown = [phase for phase in study.phases if phase.compared]
    if not study.truth:
        yield _no_truth(study)
    elif shown:
        yield note("Each point is an arch of the ground truth; hover over it to read its code. All panels share axes.")
        yield f'<div class="panels">{"".join(_truth_panel(study, phase) for phase in shown)}</div>'
    for phase in study.phases:
        if study.truth and not phase.compared:
            yield missing(f"Phase {phase.name} has not scored the ground truth's archs.", _score_command(study, phase))


def _truth_panel(study: Study, phase: PhaseRecord) -> str:
    row = study.phase_rows.get(phase.name)
    tau = f"tau {interval(row.kendall)}<br>" if row else ""
    caption = f"<figcaption>{tau}{escape(phase.source)}</figcaption>"
    return f"<figure><h3>Phase {phase_title(phase.name)}</h3>{caption}{plot(f'truth {phase.name}')}</figure>"


def _ranked(study: Study) -> Iterator[str]:
    ranked = study.ranked
    if ranked is None:
        yield missing("The ranker has not ranked the whole pool yet.", command_line("rank", save=study.save))
        return
    yield note(
        f"Predictions of {ranked.predicted} for {ranked.archs:,} archs, {ranked.scored:,} of them scored, from"
        f" {', '.join(ranked.scores)} and {ranked.truths} truths."
    )
    if ranked.rows:
        yield from ranked_table(ranked)
        yield note(
            "Smoothed: scores fitted by a function of depths, widths and costs. Combined: smoothed scores and"
            " multiply-adds, which needs no truth. Predictors are fitted to the given number of truths and judged on"
            " the others, in 20 draws."
        )


def _cost(study: Study) -> Iterator[str]:
    shown = {phase.name: phase.evaluation for phase in study.phases if phase.evaluation}
    if shown:
        first = study.best_phase if study.best_phase in shown else list(shown)[-1]
        yield note("All archs that a phase has scored. The green line is the best score up to each number of MACs.")
        buttons = "".join(_button(name, name == first) for name in shown)
        yield f'<div class="tabs" role="group" aria-label="Phase">{buttons}</div>'
        yield f'<figure><div class="plot" id="cost" data-figure="cost {first}"></div></figure>'
        for name, evaluation in shown.items():
            yield f'<div data-panel="{name}"{"" if name == first else " hidden"}>{_best(study, name, evaluation)}</div>'
    for phase in study.phases:
        if not phase.evaluation:
            what = TITLES[study.metric]
            yield missing(f"Phase {phase.name} has no merged scores by {what}.", _score_command(study, phase))


def _button(name: str, pressed: bool) -> str:
    state = str(pressed).lower()
    return f'<button type="button" data-phase="{name}" aria-pressed="{state}">Phase {phase_title(name)}</button>'


def _best(study: Study, name: str, evaluation: Evaluation) -> str:
    bounds = macs_bounds(study.costs[arch_id].macs for arch_id in evaluation.scores)
    rows: list[list[str]] = []
    ruled: list[int] = []
    last = None
    for best in best_under(bounds, evaluation.scores, study.costs):
        begins = best.bound != last
        if begins:
            ruled.append(len(rows))
        limit, last = round_quantity(best.bound) if begins else "", best.bound
        costs = quantity(best.cost.macs), quantity(best.cost.params)
        rows.append([limit, escape(best.arch_id), f"{best.score:.2f}", *costs, code(best.code)])
    heads = ("MACs up to", "arch", f"{TITLES[study.metric]}, %", "MACs", "parameters", "code")
    some = note(f"Only {evaluation.parts} were merged; the other archs are missing.") if evaluation.parts else ""
    shown = table(heads, rows, numeric=(2, 3, 4), ruled=ruled[1:])
    return f"<h3>Best archs of phase {name} for a given cost</h3>{some}{shown}"


def _training(study: Study) -> Iterator[str]:
    epochs = [epoch for phase in study.phases for epoch in phase.log.epochs]
    if not epochs:
        first = "cream.search" if any(phase.name == SEARCH.name for phase in study.phases) else "train_supernet"
        yield missing("No epoch has been logged.", command_line(first, save=study.save))
        return
    if any(epoch.tau for epoch in epochs):
        by = " and ".join(dict.fromkeys(TITLES[epoch.metric] for epoch in epochs if epoch.metric))
        yield note(
            f"Tau{f' by {by}' * bool(by)} after each epoch with its 95 % interval, on the validation images;"
            f" phases follow one another. A star is the epoch that became the phase's supernet.{_line(study)}"
        )
        yield f"<figure>{plot('tau')}</figure>"
    else:
        yield missing("Training found no ground truth to measure tau by.", _truth_command(study))
    curves = {"loss": any(epoch.loss for epoch in epochs), "accuracy": any(epoch.top1 for epoch in epochs)}
    panels = "".join(f"<figure>{plot(name)}</figure>" for name, known in curves.items() if known)
    yield f'<div class="panels wide">{panels}</div>'


def _provenance(study: Study) -> Iterator[str]:
    yield note("The manifests that training and evaluation wrote.")
    for phase in study.phases:
        evaluated = {f"Evaluation {phase.evaluation.epoch}": phase.evaluation.manifest} if phase.evaluation else {}
        manifests = {"Training": phase.manifest, **evaluated}
        content = "".join(_manifest(title, manifest) for title, manifest in manifests.items() if manifest)
        if content:
            yield f"<details><summary>Phase {phase_title(phase.name)}</summary>{content}</details>"


def _manifest(title: str, manifest: Mapping[str, Any]) -> str:
    shown = {key: value if isinstance(value, str) else json.dumps(value) for key, value in flat(manifest)}
    rows = [[escape(key), code(value)] for key, value in shown.items()]
    return f"<h3>{escape(title)}</h3>{table((), rows)}"
