"""The plan of an evaluation: the computations that subnets share, found before anything runs.

Subnets that begin with the same blocks form a tree, and a shared block is computed once. Blocks are
the same if their sizes are and the same stored tensors serve them. Sharing is exact: a batch's
activations after a block depend only on the blocks before it, and so do the batch statistics that
calibration averages.

Siblings, which are blocks with the same input, share more than that. Widths take leading channels,
so the first operation of the sibling with the widest middle contains those of the others, if the same
tensors serve them. Such siblings with the same projection compute it once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, TypeVar

from fewshot_nas.space.block import Block, Head, Op, Placed
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.split import Home, Split

T = TypeVar("T")


class Ending(NamedTuple):
    """What follows the last block of a network: the head, and the stored tensors that serve it."""

    head: Head
    home: Home


Node = Placed | Ending
Branch = tuple[Node, ...]


class Step(NamedTuple):
    """One block in the depth-first walk over a work unit's tree.

    Attributes:
        level: number of blocks before it; its input is the latest output of the level before.
        hidden: number of channels of the first operation to compute here, enough for the siblings
            that follow; 0 if an earlier sibling has computed it.
        shortcut: whether to compute the shortcut's operation here; later siblings with an equal one share it.
        shared: whether later siblings share any of the two.
    """

    level: int
    placed: Placed
    hidden: int
    shortcut: bool
    shared: bool = False

    @property
    def block(self) -> Block:
        return self.placed.block

    def ops(self) -> tuple[Op | None, ...]:
        """The block's operations as they are computed here, in the order of `Block.ops`; None for one that is not."""
        first, *rest = self.block.main
        shortcuts = [op if self.shortcut else None for op in self.block.shortcut or ()]
        return (first._replace(out=self.hidden) if self.hidden else None, *rest, *shortcuts)


class Leaf(NamedTuple):
    """The end of a network: its input is the latest output of the level before.

    Attributes:
        number: of the network in the unit, counted in the order of the walk.
    """

    level: int
    ending: Ending
    number: int


@dataclass(frozen=True)
class WorkUnit:
    """Networks that are scored together, and whose results are written together.

    Attributes:
        steps: the walk over the tree; the first step is the stem, which all networks share.
        members: for each network, the indices of the archs that are this network.
        macs: multiply-adds for one image.
    """

    steps: tuple[Step | Leaf, ...]
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
    sides = split.space.sides(resolution)
    costs: dict[Node, int] = {}
    members: dict[Branch, list[int]] = {}
    for index, arch in enumerate(archs):
        branch: Branch = (*split.network(arch), Ending(*split.head(arch)))
        members.setdefault(branch, []).append(index)
        for node in branch:
            if node not in costs:
                costs[node] = _node_macs(node, sides, num_classes)
    # Comparing numbers is many times as fast as comparing blocks.
    order = {node: number for number, node in enumerate(sorted(costs, key=_order))}
    branches = sorted(members, key=lambda branch: [order[node] for node in branch])
    units = []
    for chunk in _chunks(branches, unit_networks):
        steps = tuple(_steps(chunk))
        macs = sum(_macs(step, sides, num_classes) for step in steps)
        units.append(WorkUnit(steps, tuple(tuple(members[branch]) for branch in chunk), macs))
    plain = sum(len(members[branch]) * sum(map(costs.__getitem__, branch)) for branch in branches)
    return Plan(tuple(units), len(archs), sum(unit.macs for unit in units), plain)


def _order(node: Node) -> tuple[object, ...]:
    if isinstance(node, Ending):
        return (-1, node.home, node.head)
    # Siblings that the same tensors serve are adjacent, and among them those of the same output.
    block = node.block
    return (*node.home, block.out, [op.out for op in block.main], [op.kernel for op in block.main], repr(block))


def _chunks(branches: Sequence[Branch], most: int) -> Iterator[Sequence[Branch]]:
    """Cut the sorted branches into units where neighbours share least; a cut unit is at least half full.

    A unit never contains two different stems.
    """
    for _, same_stem in groupby(branches, key=lambda branch: branch[0]):
        rest = list(same_stem)
        while len(rest) > most:
            cut = min(range(-(-most // 2), most + 1), key=lambda at: (_shared(rest[at - 1], rest[at]), -at))
            yield rest[:cut]
            rest = rest[cut:]
        yield rest


def _shared(one: Branch, other: Branch) -> int:
    """The number of nodes that two branches have in common at their beginnings."""
    for level, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return level
    return min(len(one), len(other))


def _steps(branches: Sequence[Branch]) -> list[Step | Leaf]:
    """The depth-first walk over the tree of sorted branches."""
    steps: list[Step | Leaf] = []
    latest: dict[int, int] = {}  # by level: the latest step
    widest: dict[int, int] = {}  # by level: the step that computes the first operation for its siblings
    before: Branch = ()
    for number, branch in enumerate(branches):
        shared = _shared(before, branch)
        for level, node in enumerate(branch[shared:], start=shared):
            if isinstance(node, Ending):
                steps.append(Leaf(level, node, number))
                continue
            hidden, shortcut = node.block.main[0].out, bool(node.block.shortcut)
            # Only the first new block can have an earlier sibling, and only if the branch before has a block there.
            has_elder = level == shared and level < len(before) and isinstance(before[level], Placed)
            elder = steps[latest[level]] if has_elder else None
            if isinstance(elder, Step) and _share_first(elder.placed, node):
                for index in {latest[level], widest[level]}:
                    steps[index] = _step(steps[index])._replace(shared=True)
                eldest = _step(steps[widest[level]])
                steps[widest[level]] = eldest._replace(hidden=max(eldest.hidden, hidden))
                hidden, shortcut = 0, shortcut and elder.block.shortcut != node.block.shortcut
            else:
                widest[level] = len(steps)
            latest[level] = len(steps)
            steps.append(Step(level, node, hidden, shortcut))
        before = branch
    return steps


def _step(step: Step | Leaf) -> Step:
    assert isinstance(step, Step)
    return step


def _share_first(one: Placed, other: Placed) -> bool:
    """Whether the wider of two siblings' first operations contains the other."""
    first, second = one.block.main[0], other.block.main[0]
    # What is shared must not be changed in place, which the activation of a sum does.
    alone = any(len(block.main) == 1 and block.after != "none" for block, _ in (one, other))
    return one.home == other.home and first.slices and first._replace(out=second.out) == second and not alone


def _node_macs(node: Node, sides: Sequence[int], num_classes: int) -> int:
    """The multiply-adds of a node that is computed alone."""
    if isinstance(node, Ending):
        return node.head.cost(num_classes).macs
    return node.block.cost(sides[node.home[0]]).macs


def _macs(step: Step | Leaf, sides: Sequence[int], num_classes: int) -> int:
    if isinstance(step, Leaf):
        return step.ending.head.cost(num_classes).macs
    after = step.block.sides(sides[step.placed.home[0]])
    return sum(op.cost(side).macs for op, side in zip(step.ops(), after, strict=True) if op)


def peak_elements(space: Space, unit: WorkUnit, resolution: int | None = None) -> int:
    """The largest number of activations that a walk over a unit holds at once for one image.

    This counts the levels of the current branch, and for the running operation a copy of its input
    (a slice of channels is not dense) and its output twice, before and after the norm.
    """
    sides = space.sides(resolution)
    held = [space.in_channels * sides[0] ** 2]
    peak = held[0]
    for step in unit.steps:
        if isinstance(step, Leaf):
            continue
        del held[step.level + 1 :]
        block, side = step.block, sides[step.placed.home[0]]
        areas = [after**2 for after in block.sides(side)]
        first, *rest = zip(step.ops(), areas, strict=True)
        later, shortcuts = rest[: len(block.main) - 1], rest[len(block.main) - 1 :]
        parts = [
            (first, True, True),
            *((each, False, True) for each in shortcuts),
            *((each, True, False) for each in later),
        ]
        taken = 0  # by the first operation and the shortcut, until the block has ended or, for siblings, longer
        for (op, area), copies, kept in parts:
            if op:
                peak = max(peak, sum(held) + taken + (op.inputs * copies + 2 * op.out) * area)
                taken += op.out * area if kept else 0
        held[-1] += taken if step.shared else 0
        held.append(block.out * block.side_after(side) ** 2)
    return peak


def kernel_elements(unit: WorkUnit) -> int:
    """Weights of all convolutions of a unit."""
    steps = [step for step in unit.steps if isinstance(step, Step)]
    return sum(op.weights for step in steps for op in step.ops() if op)
