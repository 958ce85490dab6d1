"""What a ranker knows of an arch without any training: its shape and its costs, as numbers.

By them it also chooses archs: those to score, far apart, and those whose truth would say most about all others.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.space.block import Block
from fewshot_nas.space.space import STEM, Arch, Space

FEWEST_SCORED = 20  # archs, to which scores can be smoothed over features
COSTS = 2  # columns of the features that are no shape
WIDTH_WEIGHT = 3.0  # of a stage's output width, to all other columns; chosen on the three beds of our own

# Sums of standardised columns: no single one is the best proxy everywhere.
COMPOSITES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "depth + params": ("depth", "params"),
        "depth + macs": ("depth", "macs"),
        "depth + params + macs": ("depth", "params", "macs"),
    }
)


def features(space: Space, archs: Iterable[Arch], *, resolution: int | None = None, num_classes: int = 1000) -> Floats:
    """Describe archs by numbers of a similar scale, [archs, columns].

    Where depths vary, the columns are, for each stage, its depth, the logarithm of its output width and the mean
    logarithm of its middle widths. Where they don't, each place has columns of its own, `block_numbers`: few truths
    rank better by them on all three public tables, and worse where depths vary. Then come the logarithms of the
    multiply-adds and the parameters.

    Args:
        resolution: side of the square input in pixels; the space's own if None.
    """
    described = _by_stage if _depth_varies(space) else block_numbers
    rows = []
    for arch in archs:
        cost = space.cost(arch, resolution=resolution, num_classes=num_classes)
        rows.append([*described(space, arch), math.log(cost.macs), math.log(cost.params)])
    return np.array(rows, dtype=np.float64)


def weights(space: Space) -> Floats:
    """What each column of a space's `features` counts a priori, [columns]; the mean of their squares is 1.

    All blocks of a stage, and the first of the next, pass through its output width, while a middle width concerns one
    block. Where each place has its own columns, an output width stands in several of them already.
    """
    if not _depth_varies(space):
        return np.ones(3 * len(space.places) + COSTS)
    each = np.repeat([1.0, WIDTH_WEIGHT, 1.0, 1.0], [space.stages] * 3 + [COSTS])
    return np.asarray(each / np.sqrt(np.mean(each**2)), dtype=np.float64)


def block_numbers(space: Space, arch: Arch) -> list[float]:
    """For each place, the logarithms of its block's first and last width and of its kernels; 0 where there is none."""
    blocks, numbers = dict(space.blocks(arch)), list[float]()
    for place in range(len(space.places)):
        block = blocks.get(place)
        kernels = sum(math.log(op.kernel) for op in block.main) if block else 0.0
        numbers += [math.log(block.main[0].out), math.log(block.main[-1].out), kernels] if block else [0.0] * 3
    return numbers


def column(ids: Iterable[str], values: Mapping[str, float]) -> Floats:
    """Values by arch id as an array in the order of `ids`; nan where there is none."""
    return np.array([values.get(arch_id, math.nan) for arch_id in ids], dtype=np.float64)


def by_id(ids: Iterable[str], values: Floats) -> dict[str, float]:
    """The way back from `column`: arch ids without a value are left out."""
    return {arch_id: value for arch_id, value in zip(ids, values.tolist(), strict=True) if not math.isnan(value)}


def column_of_codes(space: Space, archs: Mapping[str, Arch], values: Mapping[str, float]) -> Floats:
    """Values by code as a column in the order of the archs, nan where an arch has none, [n]."""
    return column(archs, {i: values[code] for i, arch in archs.items() if (code := space.encode(arch)) in values})


def standardised(columns: Floats) -> Floats:
    """Columns [n] or [n, columns] less their means, over their standard deviations; a constant one becomes 0."""
    spread = np.std(columns, axis=0)
    scaled: Floats = (columns - np.mean(columns, axis=0)) / np.where(spread > 0, spread, 1)
    return scaled


def composites(proxies: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Proxies that are made of others: sums of their standardised logarithms, by name and arch id.

    Args:
        proxies: 'depth', 'params' and 'macs', each by arch id, as `correlation.proxies` gives them.
    """
    ids = list(proxies["depth"])
    parts = {name: standardised(np.log([values[arch_id] for arch_id in ids])) for name, values in proxies.items()}
    return {
        name: dict(zip(ids, map(float, np.sum([parts[part] for part in summed], axis=0)), strict=True))
        for name, summed in COMPOSITES.items()
    }


def widths(space: Space, archs: Mapping[str, Arch]) -> dict[str, dict[str, float]]:
    """The output width of each stage as a ranking, by name and arch id.

    One of them may rank a truth better than anything else does, but only the truth tells which one.
    So they are no proxies to choose from, and each name says so.
    """
    outs = {arch_id: [blocks[-1].out for blocks in _stages(space, arch)] for arch_id, arch in archs.items()}
    return {
        f"width of stage {stage + 1}, hindsight": {arch_id: float(each[stage]) for arch_id, each in outs.items()}
        for stage in range(space.stages)
    }


def _depth_varies(space: Space) -> bool:
    return any(slot.when is not None and len(space.slots[slot.when[0]].options) > 1 for slot in space.slots)


def _by_stage(space: Space, arch: Arch) -> list[float]:
    stages = _stages(space, arch)
    outs = [math.log(blocks[-1].out) for blocks in stages]
    mids = [sum(map(_log_mid, blocks)) / len(blocks) for blocks in stages]
    return [*map(float, map(len, stages)), *outs, *mids]


def _stages(space: Space, arch: Arch) -> list[list[Block]]:
    stages: list[list[Block]] = [[] for _ in range(space.stages)]
    for place, block in space.blocks(arch):
        if (stage := space.places[place].stage) != STEM:
            stages[stage].append(block)
    return stages


def _log_mid(block: Block) -> float:
    """The logarithm of a block's middle width; a depthwise kernel counts by its side."""
    return math.log(block.main[0].out) + sum(math.log(op.kernel) for op in block.main if op.groups > 1)


# ---- which archs to score, or to train stand-alone next --------------------------------------------------------------

NOISE = 0.5  # variance of a truth's noise, relative to what one standardised column explains a priori


def spread(columns: Floats, count: int) -> list[int]:
    """Rows that lie far apart: first the most central one, then each time the one farthest from all chosen ones.

    A larger choice begins with the smaller one (Gonzalez, Theor. Comput. Sci. 38, 1985).

    Args:
        columns: standardised, [n, any]; distances are Euclidean.
    """
    if not 0 <= count <= len(columns):
        raise ValueError(f"{count} of {len(columns)} rows")
    nearest = -_distances(columns, columns.mean(0))  # the first choice is the row closest to the mean
    chosen: list[int] = []
    for number in range(count):
        chosen.append(int(nearest.argmax()))
        new = _distances(columns, columns[chosen[-1]])
        nearest = np.minimum(nearest, new) if number else new
        nearest[chosen] = -1
    return chosen


def sample(space: Space, pool: Mapping[str, Arch], count: int) -> set[str]:
    """The ids of `count` archs of a pool, spread over depths, widths and costs.

    The sample depends on the pool and the space only, and a larger sample contains the smaller ones.
    """
    ids = list(pool)
    return {ids[row] for row in spread(standardised(features(space, pool.values())), count)}


def suggest(columns: Floats, count: int, known: Sequence[int] = ()) -> list[int]:
    """The rows whose truth would reduce the variance of all predictions most, chosen one by one.

    The predictions are those of a linear Gaussian model. Its variances do not depend on the values
    of the truths, so no value has to be known. If A is the covariance of the coefficients and M the
    sum of xx' over all rows, a truth at x reduces the sum of variances by x'AMAx / (x'Ax + noise)
    (I-optimal design).

    Args:
        columns: `predictor.inputs` of all archs, [n, columns].
        known: rows that already have a truth; they are never suggested.
    """
    extended = np.hstack([columns, np.ones((len(columns), 1))])
    everywhere = extended.T @ extended
    covariance = np.eye(extended.shape[1])
    for row in known:
        covariance = _after(covariance, extended[row])
    taken = list(known)
    for _ in range(min(count, len(columns) - len(set(known)))):
        gains = _gains(extended, covariance, everywhere)
        gains[taken] = -1
        taken.append(int(gains.argmax()))
        covariance = _after(covariance, extended[taken[-1]])
    return taken[len(known) :]


def _distances(columns: Floats, point: Floats) -> Floats:
    squares: Floats = ((columns - point) ** 2).sum(1)
    return squares


def _gains(columns: Floats, covariance: Floats, everywhere: Floats) -> Floats:
    """By how much a truth at each row would reduce the sum of all variances, [n]."""
    towards = columns @ covariance
    reduced: Floats = np.einsum("np,pq,nq->n", towards, everywhere, towards, optimize=True)
    gains: Floats = reduced / ((towards * columns).sum(1) + NOISE)
    return gains


def _after(covariance: Floats, row: Floats) -> Floats:
    """The covariance of the coefficients once a row's truth is known."""
    along = covariance @ row
    left: Floats = covariance - np.outer(along, along) / (float(row @ along) + NOISE)
    return left
