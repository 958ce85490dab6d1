"""What the command `rank` does: predictions for a whole pool, and how well each ranking orders the truth."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import named_part
from fewshot_nas.config import Config
from fewshot_nas.ranking.comparison import best_of, compare, notes
from fewshot_nas.ranking.correlation import Floats, proxies
from fewshot_nas.ranking.features import by_id, column, column_of_codes, composites, features, suggest, weights, widths
from fewshot_nas.ranking.interval import COMBINED, gained, ranking_table, read_row
from fewshot_nas.ranking.judgement import Judgement, judgement_text
from fewshot_nas.ranking.predictor import Estimate, can_predict
from fewshot_nas.ranking.ranker import in_percent, ranker
from fewshot_nas.records.files import as_json, write_csv, write_json
from fewshot_nas.reporting.ranked import best_under, macs_bounds
from fewshot_nas.reporting.style import prediction_title, quantity, round_quantity
from fewshot_nas.results.evaluations import (
    common_network,
    leading_of,
    merged_evaluations,
    read_evaluation,
    read_truth,
    refuse_other_pool,
)
from fewshot_nas.results.run import (
    known_phases,
    latency_tables,
    phase_directory,
    phase_of,
    run_directory,
    run_files,
    stored_settings,
    within_run,
)
from fewshot_nas.results.scores import OF_TOP, TITLES, Network, Scored, top_of
from fewshot_nas.running.options import config_of, following, known_run
from fewshot_nas.scoring.judge import judge_run
from fewshot_nas.space.pool import read_pool, write_codes
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.timing.table import chosen_path, left_out_unless, table_of

_MOST_SUGGESTED = 1000  # each costs a look at the whole pool
_COUNTS = ("depth", "params", "macs")
_NO_PROXIES: Mapping[str, Callable[[Space, Arch], float]] = {}  # the package's own proxies are always used

Archs = Mapping[str, Arch]  # by id


def rank(options: argparse.Namespace) -> None:
    """Write predictions for the whole pool, and say how well each ranking orders the truth."""
    # 1. Settings, the pool, and the evaluations whose scores are gone by.
    print(known_run(options.save))
    if not 0 <= options.suggest <= _MOST_SUGGESTED:
        raise InputError(f"--suggest is {options.suggest}, expected 0 to {_MOST_SUGGESTED:,} archs")
    config = config_of(options, stored_settings(options.save))
    space, truth_path = config.space.build(), config.truth_path(options.save)
    directories = options.scores or [_latest(options)]
    options.top = options.top or top_of(leading_of(directories))
    metric = OF_TOP[options.top]
    pool = {arch_id: arch for part in read_pool(config.run.pool_path, space) for arch_id, arch in part.items()}
    codes = {arch_id: space.encode(arch) for arch_id, arch in pool.items()}
    evaluations = [read_evaluation(directory, metric, space) for directory in directories]
    for evaluation in evaluations:
        refuse_other_pool(evaluation, codes)
    network = common_network(evaluations, space)
    # 2. The archs: the pool's, and those with a score or a truth that it lacks, for which no prediction is written.
    truth = read_truth(truth_path, codes, space)
    beside = {arch_id: entry.arch for arch_id, entry in truth.items() if arch_id not in pool}
    for evaluation in evaluations:
        lacking = (arch_id for arch_id in evaluation.scores if arch_id not in pool)
        beside |= {arch_id: space.decode(evaluation.scores[arch_id].code) for arch_id in lacking}
    archs = {**pool, **beside}
    # 3. The ranker: smoothed and combined scores, and predictions from them where there are enough truths.
    described = features(network.space, archs.values(), resolution=network.resolution, num_classes=network.num_classes)
    scores = [column(archs, {arch_id: scored.acc for arch_id, scored in each.scores.items()}) for each in evaluations]
    for_truth = frozenset[str]().union(*(each.beside for each in evaluations))
    untrained = _untrained(options, config, network, pool, archs)
    beside_scores = np.array([arch_id in for_truth for arch_id in archs])
    known = ranker(described, weights(network.space), scores, beside_scores, untrained)
    accuracy = column(archs, {arch_id: entry.acc for arch_id, entry in truth.items()})
    enough = can_predict(accuracy)
    estimate = in_percent(known.predicted(accuracy) if enough else known.combined)
    latencies = _latencies(options, network, archs)
    best = _write_predictions(options, network, pool, estimate, latencies, f"{'top1' if enough else metric}")
    # 4. How well each ranking orders the truth, beside proxies that need no training.
    singles, others = _proxies(archs, network, options.proxy, latencies)
    ids, rows = list(archs), list(compare(known, accuracy, singles, others))
    rankings = {"raw": known.raw, COMBINED: known.combined.value}
    rankings |= {name: values for name, values in singles.items() if name not in _COUNTS}  # which are judged anyway
    judged = judge_run(truth_path, truth, network, {name: by_id(ids, values) for name, values in rankings.items()})
    taken = [number for number, arch_id in enumerate(ids) if arch_id in truth or arch_id in beside]
    content = {
        "scores": [within_run(options.save, each) for each in directories],
        "metric": metric,
        "archs": len(pool),
        "scored": len(pool.keys() & set.intersection(*(set(each.scores) for each in evaluations))),
        "untrained": 0 if untrained is None else int((~np.isnan(untrained)).sum()),
        "agreement": as_json(known.agreement),
        "truth": within_run(options.save, truth_path) if truth else None,
        "truths": len(truth),
        "predicted": "accuracy alone" if enough else "score",
        "best": best,
        "best_proxy": best_of(singles, accuracy) if rows else None,
        "rows": as_json(rows),
        "judged": judged.values() if judged else None,
        "notes": list(notes(len(truth), len(for_truth))),
        "suggested": [ids[row] for row in suggest(known.inputs.columns, options.suggest, taken)],
    }
    write_json(run_files(options.save).ranking, content)
    _show(content, judged, options)


def _latest(options: argparse.Namespace) -> Path:
    """The evaluation that counts of a phase, or of the last phase that has merged ones.

    If `--top` is given, only those merged by it are considered.

    Raises:
        InputError: there is none; gives the command that merges one, or scores the pool.
    """
    save, phase, metric = options.save, options.phase, OF_TOP.get(options.top)
    known = [phase_of(save, phase)] if phase else known_phases(save)
    for each in reversed(known):
        if merged := merged_evaluations(phase_directory(save, each), metric):
            return merged[0]
    scored = [(each.name, epoch) for each in known for epoch in phase_directory(save, each).evaluations()]
    line = following(options, "test", phase=phase)
    if scored:
        stage, epoch = scored[-1]
        line = following(options, "merge", phase=stage, epoch=epoch)
    which = f"phase {phase} has no" if phase else "no phase has"
    by = f" by {metric}" if metric else ""
    raise InputError(f"{run_directory(save)}: {which} merged scores{by}; begin with `{line}`")


def _latencies(options: argparse.Namespace, network: Network, archs: Archs) -> dict[str, float]:
    """Predicted microseconds by arch id; empty if the run has no table of latencies."""
    with left_out_unless(options.latency is not None):
        path = chosen_path(options.latency, latency_tables(options.save))
        measure = table_of(path, network).measure if path else None
        return {arch_id: round(measure.of(network.space, arch), 1) for arch_id, arch in archs.items() if measure}
    return {}


def _untrained(
    options: argparse.Namespace, config: Config, network: Network, pool: Archs, archs: Archs
) -> Floats | None:
    """Scores of the untrained networks that the options ask for, nan where an arch has none."""
    if not options.untrained:
        return None
    from fewshot_nas.scoring.scorer import score_untrained  # torch, which other rankings do without

    found = score_untrained(run_files(options.save).untrained, config, network.space, pool, options.untrained)
    return column_of_codes(network.space, archs, found)


def _proxies(
    archs: Archs, network: Network, own: list[str], latencies: Mapping[str, float]
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Single proxies, those that `--proxy` names among them, and other rankings of all archs, as columns."""
    single = proxies(network.space, archs, resolution=network.resolution, num_classes=network.num_classes)
    single |= {"latency": dict(latencies)} if latencies else {}
    made = composites(single) | widths(network.space, archs)
    for name in own:
        proxy = named_part(name, _NO_PROXIES, "--proxy")
        single[name] = {arch_id: proxy(network.space, arch) for arch_id, arch in archs.items()}
    columns = [{name: column(archs, values) for name, values in kind.items()} for kind in (single, made)]
    return columns[0], columns[1]


def _write_predictions(
    options: argparse.Namespace,
    network: Network,
    pool: Archs,
    estimate: Estimate,
    latencies: Mapping[str, float],
    what: str,
) -> list[dict[str, Any]]:
    """Write predictions and their standard deviations, and a table of both beside costs, the best first.

    Args:
        estimate: of the pool's archs, then of others.
        what: was predicted, as the table's head calls it.

    Returns:
        The best arch within each of several bounds of multiply-adds.
    """
    files, space = run_files(options.save), network.space
    codes = {arch_id: space.encode(arch) for arch_id, arch in pool.items()}
    costs = {arch_id: network.cost(arch) for arch_id, arch in pool.items()}
    value, error = (
        {arch_id: round(float(number), 4) for arch_id, number in zip(pool, numbers, strict=False)}
        for numbers in (estimate.value, estimate.error)
    )
    for path, numbers in ((files.prediction, value), (files.prediction_error, error)):
        write_codes(path, {arch_id: (number, codes[arch_id]) for arch_id, number in numbers.items()})
    heads = ["id", "code", f"predicted_{what}_percent", "error_percent", "macs", "params"]
    order = sorted(pool, key=lambda arch_id: (-value[arch_id], costs[arch_id].macs, arch_id))
    table = [
        [arch_id, codes[arch_id], value[arch_id], error[arch_id], *costs[arch_id]]
        + ([latencies[arch_id]] if latencies else [])
        for arch_id in order
    ]
    write_csv(files.prediction_table, [*heads, *(["latency_us"] if latencies else [])], table)
    predicted = {arch_id: Scored(value[arch_id], codes[arch_id]) for arch_id in order}
    bounds = macs_bounds(cost.macs for cost in costs.values())
    return [
        {"macs_up_to": each.bound, "id": each.arch_id, "code": each.code, "predicted_percent": each.score}
        | {"error_percent": error[each.arch_id], **each.cost._asdict()}
        for each in best_under(bounds, predicted, costs, count=1)
    ]


def _show(content: Mapping[str, Any], judged: Judgement | None, options: argparse.Namespace) -> None:
    by = TITLES[content["metric"]]
    print(f"{content['archs']} archs, {content['scored']} of them scored by {by}: {run_files(options.save).prediction}")
    if content["rows"]:
        over = f"; gain is over {content['best_proxy']}, the best proxy" if content["best_proxy"] else ""
        print(f"against {content['truth']}, with 95 % intervals{over}:")
        rows = [read_row("the table", row) for row in content["rows"]]
        print(ranking_table(rows))
        print(*gained(rows, content["best_proxy"]), *content["notes"], sep="\n")
        if judged:
            print(f"\n{judgement_text(judged)}\n")
    else:
        few = f"; {content['truths']} of {content['truth']} are too few" if content["truths"] else ""
        print(
            f"no truth to judge by (run.ground_truth{few});"
            " predictions are scores, smoothed and combined with multiply-adds"
        )
    if content["agreement"] is not None:
        print(
            f"scores and untrained networks agree by a tau of {content['agreement']:.3f}; of several supernets of a"
            " space, such as several seeds, the one that agrees most is likely to rank best (docs/study.md)"
        )
    title = prediction_title(content["predicted"], content["metric"])
    print(f"the best by {title} within multiply-adds; all are in {run_files(options.save).prediction_table}:")
    for each in content["best"]:
        print(
            f"  up to {round_quantity(each['macs_up_to'])}: {each['id']} {each['code']},"
            f" {each['predicted_percent']:.2f} ± {each['error_percent']:.2f} %,"
            f" {quantity(each['macs'])} MACs, {quantity(each['params'])} parameters"
        )
    if content["suggested"]:
        numbers = ",".join(arch_id.removeprefix("arch") for arch_id in content["suggested"])
        print("train these archs stand-alone next; they would improve the predictions most:")
        print(following(options, "train_stand_alone", target_arch_num=numbers))
