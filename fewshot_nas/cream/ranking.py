"""How well a Cream search's scores order paths that were trained alone, beside what costs order: the ranker's table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import fmean
from typing import Any

import numpy as np

from fewshot_nas.ranking.comparison import best_of, fixed_rows
from fewshot_nas.ranking.correlation import FEWEST
from fewshot_nas.ranking.features import column
from fewshot_nas.ranking.influence import Floats
from fewshot_nas.ranking.ranker import ranker
from fewshot_nas.ranking.rows import COMBINED, Row, row_values
from fewshot_nas.ranking.smoothing import FEWEST_SCORED
from fewshot_nas.space.block import Cost
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.space import Arch


@dataclass(frozen=True)
class ScoredPath:
    """A path of a pool: its costs, and what a supernet makes of it.

    Attributes:
        mflops: the cost that is compared with the bounds.
        prob, top1: on the ranking images, in percent.
        board: by the measure that the search's board went by, in percent.
    """

    path: Arch
    mflops: float
    cost: Cost
    prob: float
    top1: float
    board: float


def path_features(space: MBConvSpace, paths: Iterable[tuple[Arch, Cost]]) -> Floats:
    """Describe paths with their costs by numbers of a similar scale, [paths, columns].

    The columns are, for each stage, the mean kernel and the mean logarithm of the expansions; then the logarithms of
    the multiply-adds and the parameters, as in `ranking.features`.
    """
    return np.array([[*_shape(space, path), log(cost.macs), log(cost.params)] for path, cost in paths])


def ranking_of(
    space: MBConvSpace, pool: Mapping[str, ScoredPath], truth: Mapping[str, float], board: str
) -> dict[str, Any]:
    """The ranker's table in the form that `report` reads, and the points of its picture.

    Smoothed and combined scores need a number of scored paths; without it the table is shorter. There is no predictor,
    whose weights of features are made for widths and depths.

    Args:
        pool: all paths with scores, by arch id.
        truth: accuracies of some of them, in percent.
        board: what the board's measure is called in files.
    """
    points = [
        {"arch": arch_id, "path": space.encode(pool[arch_id].path), "score": pool[arch_id].prob, "truth": accuracy}
        for arch_id, accuracy in truth.items()
    ]
    counts = {"archs": len(pool), "scored": len(pool), "truths": len(truth), "board": board}
    rows, best = _rows(space, pool, truth)
    table = {"rows": [row_values(row) for row in rows], "best_proxy": best}
    return {"scores": [], "predicted": "score", **counts, **table, "points": points}


def _rows(
    space: MBConvSpace, pool: Mapping[str, ScoredPath], truth: Mapping[str, float]
) -> tuple[Sequence[Row], str | None]:
    if len(truth) < FEWEST:
        return [], None
    accuracy = column(pool, truth)
    paths = pool.values()
    proxies = {
        "FLOPs": np.array([each.mflops for each in paths]),
        "macs": np.array([float(each.cost.macs) for each in paths]),
        "params": np.array([float(each.cost.params) for each in paths]),
    }
    columns = {
        **proxies,
        "raw": np.array([each.prob for each in paths]),
        "top-1": np.array([each.top1 for each in paths]),
        "board": np.array([each.board for each in paths]),
    }
    if len(pool) >= FEWEST_SCORED:
        known = ranker(path_features(space, [(each.path, each.cost) for each in paths]), [columns["raw"]])
        columns |= {"smoothed": known.smoothed.value, COMBINED: known.combined.value}
    best = best_of(proxies, accuracy)
    return list(fixed_rows(columns, accuracy, columns[best] if best else None)), best


def _shape(space: MBConvSpace, path: Arch) -> list[float]:
    chosen = [[space.choices[choice] for choice in stage] for stage in space.by_stage(path)]
    kernels = [fmean(kernel for kernel, _ in stage) for stage in chosen]
    return [*kernels, *(fmean(log(expansion) for _, expansion in stage) for stage in chosen)]
