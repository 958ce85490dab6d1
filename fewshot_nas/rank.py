"""Predict every arch's accuracy, with its uncertainty, from merged scores, costs and the truths there are."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run
from fewshot_nas.cli.plugins import named_part
from fewshot_nas.options import (
    add_config_options,
    add_measure_options,
    add_phase_option,
    add_save_option,
    config_of,
    following,
    known_run,
)
from fewshot_nas.records.files import write_csv, write_json
from fewshot_nas.results.evaluations import (
    Evaluation,
    common_network,
    leading_metric,
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
    trained_phases,
    within_run,
)
from fewshot_nas.results.scores import OF_TOP, Network, Scored, top_of
from fewshot_nas.space.block import Cost
from fewshot_nas.space.pool import Entry, read_pool, write_codes
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.timing.table import chosen_path, left_out_unless, table_of

if TYPE_CHECKING:
    from fewshot_nas.ranking.influence import Floats
    from fewshot_nas.ranking.smoothing import Estimate

_MOST_SUGGESTED = 1000  # each costs a look at the whole pool
_NO_PROXIES: Mapping[str, Callable[[Space, Arch], float]] = {}  # the package's own proxies are always used


def main(argv: Sequence[str] | None = None) -> int:
    """Write predictions for the whole pool, and say how well each ranking orders the truth."""
    options = _parser().parse_intermixed_args(argv)
    print(known_run(options.save))
    if not 0 <= options.suggest <= _MOST_SUGGESTED:
        raise InputError(f"--suggest is {options.suggest}, expected 0 to {_MOST_SUGGESTED:,} archs")
    options.top = options.top or top_of(leading_metric(trained_phases(options.save)))
    metric = OF_TOP[options.top]
    config = config_of(options, stored_settings(options.save))
    space, truth_path = config.space.build(), config.truth_path(options.save)
    pool = {arch_id: arch for part in read_pool(config.run.pool_path, space) for arch_id, arch in part.items()}
    directories = options.scores or [_latest(options, metric)]
    codes = {arch_id: space.encode(arch) for arch_id, arch in pool.items()}
    evaluations = [read_evaluation(directory, metric, space) for directory in directories]
    for evaluation in evaluations:
        refuse_other_pool(evaluation, codes)
    network = common_network(evaluations, space)
    truth = read_truth(truth_path, codes, space)
    beside = {arch_id: entry.arch for arch_id, entry in truth.items() if arch_id not in pool}
    for evaluation in evaluations:
        lacking = (arch_id for arch_id in evaluation.scores if arch_id not in pool)
        beside |= {arch_id: space.decode(evaluation.scores[arch_id].code) for arch_id in lacking}
    given = {
        "scores": [within_run(options.save, each) for each in directories],
        "metric": metric,
        "archs": len(pool),
        "scored": len(pool.keys() & set.intersection(*(set(each.scores) for each in evaluations))),
        "truth": within_run(options.save, truth_path) if truth else None,
        "truths": len(truth),
    }
    content = given | _rank(options, pool, beside, network, evaluations, truth)
    write_json(run_files(options.save).ranking, content)
    _show(content, options)
    return 0


def _rank(
    options: argparse.Namespace,
    pool: Mapping[str, Arch],
    beside: Mapping[str, Arch],
    network: Network,
    evaluations: Sequence[Evaluation],
    truth: Mapping[str, Entry],
) -> dict[str, Any]:
    """Write the predictions, and return the table and the suggestions.

    Args:
        beside: archs with a score or a truth that the pool lacks. They are used, but no prediction of them is written.
    """
    # Here, so that --help need not wait for numpy.
    import numpy as np

    from fewshot_nas.ranking.comparison import best_of, compare, notes
    from fewshot_nas.ranking.features import column, features, weights
    from fewshot_nas.ranking.predictor import can_predict
    from fewshot_nas.ranking.ranker import in_percent, ranker
    from fewshot_nas.ranking.rows import COMBINED, interval_values, row_values
    from fewshot_nas.ranking.strata import equal_cost
    from fewshot_nas.ranking.suggestion import suggest

    archs = {**pool, **beside}
    described = features(network.space, archs.values(), resolution=network.resolution, num_classes=network.num_classes)
    scores = [column(archs, {arch_id: scored.acc for arch_id, scored in each.scores.items()}) for each in evaluations]
    extra = frozenset[str]().union(*(each.beside for each in evaluations))
    known = ranker(described, weights(network.space), scores, np.array([arch_id in extra for arch_id in archs]))
    accuracy = column(archs, {arch_id: entry.acc for arch_id, entry in truth.items()})
    enough = can_predict(accuracy)
    estimate = in_percent(known.predicted(accuracy) if enough else known.combined)
    _write(options.save, network.space, pool, estimate)
    latencies = _latencies(options, network, archs)
    costs = {arch_id: network.cost(arch) for arch_id, arch in pool.items()}
    best = _write_table(options, network, pool, costs, estimate, enough, latencies)
    singles, others = _proxies(archs, network, options.proxy, latencies)
    ids, rows = list(archs), list(compare(known, accuracy, singles, others))
    plain = {**singles, "raw": known.raw, COMBINED: known.combined.value}
    equal = equal_cost(plain, accuracy, singles["macs"])
    taken = [number for number, arch_id in enumerate(ids) if arch_id in truth or arch_id in beside]
    return {
        "predicted": "accuracy alone" if enough else "score",
        "best": best,
        "best_proxy": best_of(singles, accuracy) if rows else None,
        "rows": [row_values(row) for row in rows],
        "equal_cost": {name: interval_values(tau) for name, tau in equal.items()},
        "notes": list(notes(len(truth), len(extra))),
        "suggested": [ids[row] for row in suggest(known.inputs.columns, options.suggest, taken)],
    }


def _latencies(options: argparse.Namespace, network: Network, pool: Mapping[str, Arch]) -> dict[str, float]:
    """Predicted microseconds by arch id; empty if the run has no table of latencies."""
    with left_out_unless(options.latency is not None):
        path = chosen_path(options.latency, latency_tables(options.save))
        measure = table_of(path, network).measure if path else None
        return {arch_id: round(measure.of(network.space, arch), 1) for arch_id, arch in pool.items() if measure}
    return {}


def _proxies(
    pool: Mapping[str, Arch], network: Network, own: Sequence[str], latencies: Mapping[str, float]
) -> tuple[dict[str, "Floats"], dict[str, "Floats"]]:
    """Single proxies, those that `--proxy` names among them, and other rankings of all archs, as columns."""
    from fewshot_nas.ranking.correlation import proxies
    from fewshot_nas.ranking.features import column, composites, widths

    single = proxies(network.space, pool, resolution=network.resolution, num_classes=network.num_classes)
    single |= {"latency": dict(latencies)} if latencies else {}
    made = composites(single) | widths(network.space, pool)
    for name in own:
        single[name] = {
            key: named_part(name, _NO_PROXIES, "--proxy")(network.space, arch) for key, arch in pool.items()
        }
    columns = [{name: column(pool, values) for name, values in kind.items()} for kind in (single, made)]
    return columns[0], columns[1]


def _write(save: str, space: Space, pool: Mapping[str, Arch], estimate: "Estimate") -> None:
    """Write predictions and their standard deviations, as two arch files in the pool's order."""
    files = run_files(save)
    for path, values in ((files.prediction, estimate.value), (files.prediction_error, estimate.error)):
        rounded = (round(float(value), 4) for value in values)
        write_codes(
            path,
            {i: Scored(value, space.encode(arch)) for (i, arch), value in zip(pool.items(), rounded, strict=False)},
        )


def _write_table(
    options: argparse.Namespace,
    network: Network,
    pool: Mapping[str, Arch],
    costs: Mapping[str, Cost],
    estimate: "Estimate",
    alone: bool,
    latencies: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Write each arch's prediction beside its costs, the best first; return the best within several multiply-adds.

    Args:
        alone: whether accuracies of networks that are trained alone were predicted, not scores.
    """
    from fewshot_nas.reporting.best_archs import best_under, macs_bounds

    what = "top1" if alone else OF_TOP[options.top]
    names = ["id", "code", f"predicted_{what}_percent", "error_percent", "macs", "params"]
    table: list[list[Any]] = [
        [arch_id, network.space.encode(arch), round(float(value), 4), round(float(error), 4), *costs[arch_id]]
        for (arch_id, arch), value, error in zip(pool.items(), estimate.value, estimate.error, strict=False)
    ]
    table.sort(key=lambda row: (-row[2], row[4], row[0]))
    predicted: dict[str, Scored] = {row[0]: Scored(row[2], row[1]) for row in table}
    errors = {row[0]: row[3] for row in table}
    if latencies:
        names, table = [*names, "latency_us"], [[*row, latencies[row[0]]] for row in table]
    write_csv(run_files(options.save).prediction_table, names, table)
    bounds = macs_bounds(cost.macs for cost in costs.values())
    return [
        {"macs_up_to": each.bound, "id": each.arch_id, "code": each.code, "predicted_percent": each.score}
        | {"error_percent": errors[each.arch_id], **each.cost._asdict()}
        for each in best_under(bounds, predicted, costs, count=1)
    ]


def _show(content: Mapping[str, Any], options: argparse.Namespace) -> None:
    from fewshot_nas.ranking.rows import gained, ranking_table, read_interval, read_row
    from fewshot_nas.ranking.strata import equal_cost_lines
    from fewshot_nas.reporting.wording import prediction_title, quantity, round_quantity

    print(f"{content['archs']} archs, {content['scored']} of them scored: {run_files(options.save).prediction}")
    if content["rows"]:
        over = f"; gain is over {content['best_proxy']}, the best proxy" if content["best_proxy"] else ""
        print(f"against {content['truth']}, with 95 % intervals{over}:")
        rows = [read_row("the table", row) for row in content["rows"]]
        print(ranking_table(rows))
        if lines := equal_cost_lines({name: read_interval(each) for name, each in content["equal_cost"].items()}):
            print(lines)
        print(*gained(rows, content["best_proxy"]), *content["notes"], sep="\n")
    else:
        few = f"; {content['truths']} of {content['truth']} are too few" if content["truths"] else ""
        print(
            f"no truth to judge by (run.ground_truth{few});"
            " predictions are scores, smoothed and combined with multiply-adds"
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


def _latest(options: argparse.Namespace, metric: str) -> Path:
    """The evaluation that counts of a phase, or of the last phase that has merged ones.

    Raises:
        InputError: there is none; gives the command that merges one, or scores the pool.
    """
    save, phase = options.save, options.phase
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
    raise InputError(f"{run_directory(save)}: {which} merged scores by {metric}; begin with `{line}`")


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.rank", description=__doc__)
    add = parser.add_argument
    add_save_option(parser)
    add_phase_option(parser, None, "the last that has merged scores")
    add(
        "--scores",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="evaluations with merged scores, whose mean counts (default: the one of the phase)",
    )
    add_measure_options(parser)
    add("--suggest", type=int, default=0, metavar="N", help="name N archs whose stand-alone training would teach most")
    add(
        "--proxy",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="a function of your own that maps a space and an arch to a number; may be given several times",
    )
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
