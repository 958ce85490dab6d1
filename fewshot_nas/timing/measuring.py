"""A table of latencies made: parts and networks are timed in turns, and the table is fitted to the networks.

In turns, so that a machine that becomes slower does so for all programs.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Literal, TypeVar

import numpy as np
from scipy.optimize import nnls
from tqdm import tqdm

from fewshot_nas.cli.main import Pace
from fewshot_nas.ranking.correlation import correlations
from fewshot_nas.ranking.interval import shown
from fewshot_nas.space.block import Head
from fewshot_nas.space.pool import distinct, shuffled
from fewshot_nas.space.space import Arch, random_arch
from fewshot_nas.timing.programs import Program, Programs, Stopwatch, by_wall, distinct_parts
from fewshot_nas.timing.table import Call, LatencyFit, LatencyTable, Part, Sized, Timing

K = TypeVar("K", bound=Hashable)
Choices = Literal["pool", "all"]  # of a space's options
FITTED, TESTED = 30, 50  # networks; in the same proportion if the space has fewer
LEAST_RUNS, MOST_RUNS = 3, 30
TURN_S = 0.006  # a short program is repeated for so long in its turn


def measured_table(programs: Programs, choices: Choices, count: int, device: Mapping[str, Any]) -> LatencyTable:
    """Time parts and networks in turns, fit the table to some networks, and judge it on the others."""
    space = programs.space
    options = space.all_options if choices == "all" else space.pool_options
    parts = distinct_parts(space, options)
    rng = Random(0)
    archs = distinct(lambda: random_arch(space, rng, options), FITTED + TESTED)
    fits = max(1, len(archs) * FITTED // (FITTED + TESTED))
    print(f"{len(parts)} parts and {len(archs)} networks, {count} rounds, on {device['name']}: {device['timed']}")
    made: dict[Any, Program] = {Call(): programs.empty()}
    for each in tqdm([*parts, *archs], desc="making", disable=None, leave=False):
        made[each] = programs.of_part(each) if isinstance(each, Sized | Head) else programs.of_arch(each)
    pace, measured = Pace(count, tqdm.write), []
    turns = rounds(made, count, stopwatch=programs.stopwatch)
    for each_round in tqdm(turns, desc="rounds", total=count, disable=None):
        measured.append(each_round)
        pace.advance()
    times = timings(measured)
    known, whole = {part: times[part] for part in parts}, {arch: times[arch] for arch in archs}
    raw = LatencyTable(device, space, programs.num_classes, choices, times[Call()], known, LatencyFit(0, 1, ()), {})
    table = fitted(raw, {arch: whole[arch].us for arch in archs[:fits]})
    facts = {
        "rounds": count,
        "spread_of_parts_percent": round(100 * median(each.spread for each in known.values()), 2),
        "spread_of_networks_percent": round(100 * median(each.spread for each in whole.values()), 2),
        "fitted_to": fits,
    }
    return replace(table, validation=facts | errors_on(table, {arch: whole[arch].us for arch in archs[fits:]}))


def show(table: LatencyTable, path: Path) -> None:
    """Print how well a table predicts networks that it was not fitted to."""
    found = table.validation
    if not found["networks"]:
        print(f"written: {path}; no network is left to judge the predictions by")
        return
    tau = math.nan if found["tau"] is None else found["tau"]
    print(
        f"predicted against measured on {found['networks']} networks that nothing was fitted to: mean error"
        f" {found['mean_error_percent']:.1f} %, largest {found['largest_error_percent']:.1f} %, tau {shown(tau)}"
    )
    worst = found["worst"]
    print(
        f"the worst: {worst['code']}, predicted {worst['predicted_us']:.0f} us, measured {worst['measured_us']:.0f} us"
    )
    if found["mean_error_percent"] > AIM_ERROR_PERCENT or tau < AIM_TAU:
        spread = (
            f"rounds differ by {found['spread_of_parts_percent']:.1f} % for parts and"
            f" {found['spread_of_networks_percent']:.1f} % for networks; measure on a quieter machine, or with more"
            " --rounds"
        )
        aim = f"this misses the aim of {AIM_ERROR_PERCENT:.0f} % and a tau of {AIM_TAU}"
        print(f"{aim}: {spread if found['rounds'] > 1 else 'one round is little; give more --rounds'}")
    print(f"written: {path}")


AIM_ERROR_PERCENT, AIM_TAU = 5.0, 0.95


def fitted(table: LatencyTable, networks: Mapping[Arch, float]) -> LatencyTable:
    """The table with constants that are fitted to whole networks by relative errors; none of them is negative.

    Args:
        networks: latencies in microseconds.
    """
    rows = np.array([_row(table, arch) for arch in networks])
    times = np.array(list(networks.values()))
    found, _ = nnls(rows / times[:, None], np.ones(len(times)))
    constant, scale, *per_block = (float(value) for value in found)
    return replace(table, fit=LatencyFit(constant, scale, tuple(per_block)))


def _row(table: LatencyTable, arch: Arch) -> list[float]:
    """The factors of the constants: 1, the sum over the parts, and the depth of each stage."""
    space, sides = table.space, table.space.sides()
    parts: list[Part] = [Sized(block, sides[place]) for place, block in space.blocks(arch)]
    stages = [space.places[place].stage for place, _ in space.blocks(arch)]
    depths = [float(stages.count(stage)) for stage in range(space.stages)]
    return [1.0, sum(map(table.net_us, [*parts, space.head(arch)])), *depths]


def errors_on(table: LatencyTable, networks: Mapping[Arch, float]) -> dict[str, Any]:
    """The errors of the predictions on networks that the table was not fitted to.

    Returns:
        mean and largest error in percent, Kendall's tau (None where it is undefined), the worst arch, and all
        networks; only their number where there are none.
    """
    if not networks:
        return {"networks": 0}
    space, measure = table.space, table.measure
    rows = [
        {"code": space.encode(arch), "measured_us": round(us, 3), "predicted_us": round(measure.of(space, arch), 3)}
        for arch, us in networks.items()
    ]
    measured, predicted = (np.array([row[key] for row in rows]) for key in ("measured_us", "predicted_us"))
    errors = 100 * np.abs(predicted - measured) / measured
    worst = int(errors.argmax())
    tau = float(correlations(predicted, measured)[0]) if len(rows) > 1 else math.nan
    return {
        "networks": len(rows),
        "mean_error_percent": round(float(errors.mean()), 3),
        "largest_error_percent": round(float(errors[worst]), 3),
        "tau": round(tau, 4) if math.isfinite(tau) else None,
        "worst": rows[worst],
        "measured": rows,
    }


def rounds(programs: Mapping[K, Program], count: int, stopwatch: Stopwatch = by_wall) -> Iterator[dict[K, float]]:
    """Yield the times of a round, in microseconds: each program has one turn, in a random order.

    In its turn a program runs a few times, and the fastest run counts. The other runs were interrupted, or
    found the caches full of another program's data.

    Args:
        count: number of rounds.
    """
    names = list(programs)
    for number in range(count):
        order = shuffled(Random(f"0/{number}"), range(len(names)))
        yield {names[place]: 1e6 * _fastest(programs[names[place]], stopwatch) for place in order}


def _fastest(program: Program, stopwatch: Stopwatch) -> float:
    best, spent, runs = math.inf, 0.0, 0
    while runs < LEAST_RUNS or (spent < TURN_S and runs < MOST_RUNS):
        taken = stopwatch(program)
        best, spent, runs = min(best, taken), spent + taken, runs + 1
    return best


def timings(measured: Sequence[Mapping[K, float]]) -> dict[K, Timing]:
    found = {name: np.quantile([each[name] for each in measured], [0.25, 0.5, 0.75]) for name in measured[0]}
    return {
        name: Timing(round(float(middle), 3), round(float((high - low) / 2 / middle), 4))
        for name, (low, middle, high) in found.items()
    }
