"""What a ranker knows of an arch without any training: its shape and its costs, as numbers."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from fewshot_nas.ranking.influence import Floats
from fewshot_nas.space.block import Block
from fewshot_nas.space.space import STEM, Arch, Space

COSTS = 2  # columns of the features that are no shape
WIDTH_WEIGHT = 3.0  # of an output width, to all other columns; chosen on the study's three beds

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

    The columns are, for each stage, its depth, the logarithm of its output width and the mean
    logarithm of its middle widths; then the logarithms of the multiply-adds and the parameters.

    Args:
        resolution: side of the square input in pixels; the space's own if None.
    """
    return np.array([_described(space, arch, resolution, num_classes) for arch in archs], dtype=np.float64)


def weighted(described: Floats) -> Floats:
    """Features standardised, and the output widths made to count more; the sum of their variances stays as it is.

    All blocks of a stage, and the first of the next, pass through its output width, while a middle width
    concerns one block.

    Args:
        described: `features`, [n, columns].
    """
    stages = (described.shape[1] - COSTS) // 3
    weights = np.ones(described.shape[1])
    weights[stages : 2 * stages] = WIDTH_WEIGHT
    return standardised(described) * weights * float(np.sqrt(len(weights) / np.sum(weights**2)))


def column(ids: Iterable[str], values: Mapping[str, float]) -> Floats:
    """Values by arch id as an array in the order of `ids`; nan where there is none."""
    return np.array([values.get(arch_id, math.nan) for arch_id in ids], dtype=np.float64)


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
    outs = {arch_id: [blocks[-1].out for blocks in _by_stage(space, arch)] for arch_id, arch in archs.items()}
    return {
        f"width of stage {stage + 1}, hindsight": {arch_id: float(each[stage]) for arch_id, each in outs.items()}
        for stage in range(space.stages)
    }


def _described(space: Space, arch: Arch, resolution: int | None, num_classes: int) -> list[float]:
    cost, stages = space.cost(arch, resolution=resolution, num_classes=num_classes), _by_stage(space, arch)
    outs = [math.log(blocks[-1].out) for blocks in stages]
    mids = [sum(map(_log_mid, blocks)) / len(blocks) for blocks in stages]
    return [*map(float, map(len, stages)), *outs, *mids, math.log(cost.macs), math.log(cost.params)]


def _by_stage(space: Space, arch: Arch) -> list[list[Block]]:
    stages: list[list[Block]] = [[] for _ in range(space.stages)]
    for place, block in space.blocks(arch):
        if (stage := space.places[place].stage) != STEM:
            stages[stage].append(block)
    return stages


def _log_mid(block: Block) -> float:
    """The logarithm of a block's middle width; a depthwise kernel counts by its side."""
    return math.log(block.main[0].out) + sum(math.log(op.kernel) for op in block.main if op.groups > 1)
