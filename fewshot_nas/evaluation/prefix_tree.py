"""The plan of an evaluation: the computations that subnets share, found before anything runs.

Subnets that begin with the same blocks form a tree, and a shared block is computed once. Blocks are
the same if their effective widths and their few-shot groups are. Sharing is exact: a batch's
activations after a block depend only on the blocks before it, and so do the batch statistics that
calibration averages.

Siblings, which are blocks with the same input, share more than that. Widths take leading channels,
so the first convolution of the sibling with the widest middle contains those of the others. Siblings
that differ only in the middle have the same shortcut.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from typing import NamedTuple, TypeVar

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.block import Block, Layer, sides
from fewshot_nas.space.cost import Sizes, block_cost, head_cost, layer_cost, sizes, stem_cost
from fewshot_nas.space.search_space import SearchSpace
from fewshot_nas.space.split import Split

T = TypeVar("T")


class Served(NamedTuple):
    """A block and the few-shot group of its weights. Two branches share a block only if both are equal.

    The block alone would not suffice: it does not contain the depth of its stage, on which the group may depend.
    """

    block: Block
    group: int


Branch = tuple[Served, ...]


class Step(NamedTuple):
    """One block in the depth-first walk over a work unit's tree.

    Attributes:
        level: number of blocks before it; its input is the latest output of the level before.
        position: position of the block in its stage.
        group: few-shot group of its weights.
        hidden: number of channels of the first convolution to compute here, enough for the siblings
            that follow; 0 if an earlier sibling has computed it.
        shortcut: whether to compute the shortcut's convolution here; later siblings of the same
            output width share it.
        leaf: number of the unit's network that ends here, or -1.
    """

    level: int
    block: Block
    position: int
    group: int
    hidden: int
    shortcut: bool
    leaf: int

    def layers(self) -> tuple[Layer, ...]:
        """The block's convolutions; the first one has the width that is computed here."""
        first, *rest = self.block.layers
        return first._replace(out=self.hidden), *rest


@dataclass(frozen=True)
class WorkUnit:
    """Networks that are scored together, and whose results are written together.

    Attributes:
        stem: channels of the stem, which all networks share.
        steps: the walk over the tree; the first block has level 0.
        members: for each network, the indices of the archs that are this network.
        macs: multiply-adds for one image.
    """

    stem: int
    steps: tuple[Step, ...]
    members: tuple[tuple[int, ...], ...]
    macs: int


@dataclass(frozen=True)
class Plan:
    """Work units that contain each arch once; `plain_macs` are the multiply-adds without any sharing."""

    units: tuple[WorkUnit, ...]
    archs: int
    macs: int
    plain_macs: int

    @property
    def networks(self) -> int:
        """The number of distinct networks among the archs."""
        return sum(len(unit.members) for unit in self.units)

    def by_arch(self, results: Iterable[Sequence[T]]) -> list[T]:
        """The result of each arch, in the order of the archs.

        Args:
            results: for each unit, the results of its networks.
        """
        found: dict[int, T] = {}
        for unit, each in zip(self.units, results, strict=True):
            for members, result in zip(unit.members, each, strict=True):
                found |= dict.fromkeys(members, result)
        return [found[index] for index in range(self.archs)]


def make_plan(
    split: Split,
    archs: Sequence[Arch],
    *,
    unit_networks: int,
    resolution: int | None = None,
    num_classes: int = 1000,
) -> Plan:
    """Arrange archs into work units of at most `unit_networks` distinct networks.

    The same archs in the same order give the same plan, so that a resumed evaluation computes the
    same units.

    Args:
        resolution: side of the square input in pixels; the space's own if None.
    """
    space = split.space
    members: dict[Branch, list[int]] = {}
    for index, arch in enumerate(archs):
        members.setdefault(_branch(split, arch), []).append(index)
    branches = sorted(members, key=lambda branch: [_order(served) for served in branch])
    maps = sizes(space, resolution)

    @cache
    def ends_macs(stem: int, out: int) -> int:
        return stem_cost(space, stem, maps.stem).macs + head_cost(out, num_classes).macs

    @cache
    def block_macs(block: Block) -> int:
        return block_cost(block, maps.before(block)).macs

    def branch_macs(branch: Branch) -> int:
        return ends_macs(branch[0].block.inputs, branch[-1].block.out) + sum(block_macs(each.block) for each in branch)

    units = []
    for chunk in _chunks(branches, unit_networks):
        stem, steps = chunk[0][0].block.inputs, tuple(_steps(chunk))
        macs = stem_cost(space, stem, maps.stem).macs + sum(_macs(step, maps) for step in steps)
        macs += sum(head_cost(branch[-1].block.out, num_classes).macs for branch in chunk)
        units.append(WorkUnit(stem, steps, tuple(tuple(members[branch]) for branch in chunk), macs))
    plain = sum(len(members[branch]) * branch_macs(branch) for branch in branches)
    return Plan(tuple(units), len(archs), sum(unit.macs for unit in units), plain)


def _branch(split: Split, arch: Arch) -> Branch:
    depths = arch.depths
    return tuple(
        Served(block, split.group_of(block.stage, block.out, depths[block.stage])) for block in split.space.blocks(arch)
    )


@lru_cache(maxsize=1 << 16)
def _order(served: Served) -> tuple[int, int, int, int]:
    # Siblings of the same group are adjacent, and among them those of the same out width.
    return served.block.stage, served.group, served.block.out, served.block.mid


def _chunks(branches: Sequence[Branch], most: int) -> Iterator[Sequence[Branch]]:
    """Cut the sorted branches into units where neighbours share least; a cut unit is at least half full.

    A unit never contains two different stems.
    """
    for _, same_stem in groupby(branches, key=lambda branch: branch[0].block.inputs):
        rest = list(same_stem)
        while len(rest) > most:
            cut = min(range(-(-most // 2), most + 1), key=lambda at: (_shared(rest[at - 1], rest[at]), -at))
            yield rest[:cut]
            rest = rest[cut:]
        yield rest


def _shared(one: Branch, other: Branch) -> int:
    """The number of blocks that two branches have in common at their beginnings."""
    for level, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return level
    return min(len(one), len(other))


def _steps(branches: Sequence[Branch]) -> list[Step]:
    """The depth-first walk over the tree of sorted branches."""
    steps: list[Step] = []
    positions: dict[int, int] = {}  # by level: the position of the branch's block in its stage
    latest: dict[int, int] = {}  # by level: the latest step
    widest: dict[int, int] = {}  # by level: the step that computes the first convolution for its siblings
    before: Branch = ()
    for leaf, branch in enumerate(branches):
        shared = _shared(before, branch)
        for level, (block, group) in enumerate(branch[shared:], start=shared):
            follows = level > 0 and branch[level - 1].block.stage == block.stage
            positions[level] = positions[level - 1] + 1 if follows else 0
            # Only the first new block can have an earlier sibling, and only if the branch before has a block there.
            elder = steps[latest[level]] if level == shared < len(before) else None
            if elder and (elder.block.stage, elder.group) == (block.stage, group):
                eldest = widest[level]
                steps[eldest] = steps[eldest]._replace(hidden=max(steps[eldest].hidden, block.mid))
                hidden, shortcut = 0, block.projects and elder.block.out != block.out
            else:
                widest[level] = len(steps)
                hidden, shortcut = block.mid, block.projects
            latest[level] = len(steps)
            last = leaf if level == len(branch) - 1 else -1
            steps.append(Step(level, block, positions[level], group, hidden, shortcut, last))
        before = branch
    return steps


def _macs(step: Step, maps: Sizes) -> int:
    """The multiply-adds of a step."""
    layers = step.layers()
    after = sides(step.block.layers, maps.before(step.block))
    macs = sum(layer_cost(layer, side).macs for layer, side in zip(layers, after, strict=True))
    return macs + (layer_cost(step.block.shortcut, after[-1]).macs if step.shortcut else 0)


def peak_elements(space: SearchSpace, unit: WorkUnit, resolution: int | None = None) -> int:
    """The largest number of activations that a walk over a unit holds at once for one image.

    This counts the levels of the current branch, and for the running convolution a copy of its input
    (a slice of channels is not dense) and its output twice, before and after the norm.
    """
    maps = sizes(space, resolution)
    held = [unit.stem * maps.entry**2]
    peak = space.in_channels * (resolution or space.resolution) ** 2 + 2 * unit.stem * maps.stem**2
    for step in unit.steps:
        del held[step.level + 1 :]
        block = step.block
        first, *rest = step.layers()
        area, *areas = (side**2 for side in sides(block.layers, maps.before(block)))
        parts = [(True, first.inputs, first.out, area), (True, 0, block.out * step.shortcut, areas[-1])]
        parts += [(False, layer.inputs, layer.out, each) for layer, each in zip(rest, areas, strict=True)]
        for kept, copied, channels, each in parts:
            peak = max(peak, sum(held) + (copied + 2 * channels) * each)
            held[-1] += channels * each if kept else 0
        held.append(block.out * areas[-1])
    return peak


def kernel_elements(space: SearchSpace, unit: WorkUnit) -> int:
    """Weights of all convolutions of a unit."""
    layers = [Layer(space.in_channels, unit.stem, space.stem_kernel, space.stem_stride)]
    for step in unit.steps:
        layers += [*step.layers(), *([step.block.shortcut] if step.shortcut else [])]
    return sum(layer.inputs * layer.out * layer.kernel**2 for layer in layers)
