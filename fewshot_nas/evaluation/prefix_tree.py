"""The plan of an evaluation: which computations many subnets share, before anything runs.

Subnets that begin with the same blocks, compared by effective widths and few-shot group, form a
tree; a block that they share is computed once. It is exact: a batch's activations after a block
depend on the prefix only, and so do the batch statistics that calibration averages.

Blocks that stand side by side share more than their input. Widths take leading channels, so
the first convolution of the sibling with the widest middle contains those of the others, and
siblings that differ in the middle only have the same shortcut.
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
    """A block and the few-shot group that its weights are in: what two branches must agree on to share it.

    The block alone would not do. It does not tell the depth of its stage, on which the group may depend.
    """

    block: Block
    group: int


Branch = tuple[Served, ...]


class Step(NamedTuple):
    """A block of a work unit, in the order in which a depth-first walk comes to it.

    Attributes:
        level: number of blocks before it; its input is the latest output of the level before.
        position: of the block in its stage.
        group: the few-shot group that its weights are in.
        hidden: channels of the first convolution to compute here, enough for the siblings that
            follow; 0 where an elder sibling has done so.
        shortcut: whether to compute the shortcut convolution here; siblings of equal width that
            follow share it.
        leaf: number of the network, among the unit's, that ends here, or -1.
    """

    level: int
    block: Block
    position: int
    group: int
    hidden: int
    shortcut: bool
    leaf: int

    def layers(self) -> tuple[Layer, ...]:
        """The block's convolutions, the first as wide as it is computed here."""
        first, *rest = self.block.layers
        return first._replace(out=self.hidden), *rest


@dataclass(frozen=True)
class WorkUnit:
    """Networks to be scored together: what is computed at once, and written down at once.

    Attributes:
        steps: begin with a block of level 0; all have the stem of `stem` channels in common.
        members: for each network the indices of the archs that are this network.
        macs: multiply-adds for one image.
    """

    stem: int
    steps: tuple[Step, ...]
    members: tuple[tuple[int, ...], ...]
    macs: int


@dataclass(frozen=True)
class Plan:
    """Work units that hold each arch once; `plain_macs` is what they cost one at a time."""

    units: tuple[WorkUnit, ...]
    archs: int
    macs: int
    plain_macs: int

    @property
    def networks(self) -> int:
        """Distinct networks among the archs."""
        return sum(len(unit.members) for unit in self.units)

    def by_arch(self, results: Iterable[Sequence[T]]) -> list[T]:
        """What was found for each arch, in the order of the archs.

        Args:
            results: for each unit, what was found for each of its networks.
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

    The same archs in the same order give the same plan, so that a resumed evaluation computes
    what the unbroken one would have.

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
    # Siblings of one group, and in it of one out width, lie side by side.
    return served.block.stage, served.group, served.block.out, served.block.mid


def _chunks(branches: Sequence[Branch], most: int) -> Iterator[Sequence[Branch]]:
    """Cut where neighbours share least, but no earlier than at half of what a unit may hold.

    Different stems are never in one unit.
    """
    for _, same_stem in groupby(branches, key=lambda branch: branch[0].block.inputs):
        rest = list(same_stem)
        while len(rest) > most:
            cut = min(range(-(-most // 2), most + 1), key=lambda at: (_shared(rest[at - 1], rest[at]), -at))
            yield rest[:cut]
            rest = rest[cut:]
        yield rest


def _shared(one: Branch, other: Branch) -> int:
    """Blocks that two branches begin with together."""
    for level, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return level
    return min(len(one), len(other))


def _steps(branches: Sequence[Branch]) -> list[Step]:
    """The walk over the tree of sorted branches, its first level being the first block's."""
    steps: list[Step] = []
    positions: dict[int, int] = {}  # by level: of the branch's block there, in its stage
    latest: dict[int, int] = {}  # by level: the newest step there
    widest: dict[int, int] = {}  # by level: the step that computes the first convolution for its siblings
    before: Branch = ()
    for leaf, branch in enumerate(branches):
        shared = _shared(before, branch)
        for level, (block, group) in enumerate(branch[shared:], start=shared):
            follows = level > 0 and branch[level - 1].block.stage == block.stage
            positions[level] = positions[level - 1] + 1 if follows else 0
            # Only the first new block has an elder sibling, and only if the branch before goes on there.
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
    """Multiply-adds of what a step computes."""
    layers = step.layers()
    after = sides(step.block.layers, maps.before(step.block))
    macs = sum(layer_cost(layer, side).macs for layer, side in zip(layers, after, strict=True))
    return macs + (layer_cost(step.block.shortcut, after[-1]).macs if step.shortcut else 0)


def peak_elements(space: SearchSpace, unit: WorkUnit, resolution: int | None = None) -> int:
    """Numbers that a walk over a unit holds at once for one image, at most.

    Counted are the levels of the current branch, and around a convolution a copy of its input (a
    slice of channels is not dense) and its output twice, before and after the norm.
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
