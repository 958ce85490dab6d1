"""Fitting a table of latencies to whole networks, and judging its predictions on others."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import nnls

from fewshot_nas.ranking.correlation import correlations
from fewshot_nas.space.space import Arch
from fewshot_nas.timing.table import LatencyFit, LatencyTable, Part, Sized

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


def judged(table: LatencyTable, networks: Mapping[Arch, float]) -> dict[str, Any]:
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
