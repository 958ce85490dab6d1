"""The block: the operations on its main path, its shortcut, and what follows. All else derives from these values.

Costs, supernets, single networks, the evaluator's prefix tree, folded kernels, ONNX graphs and latency tables are
all built from `Op` and `Block`; `fewshot_nas.models.run` is the only place that says what they compute.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from fewshot_nas.cli.errors import InputError

Act = Literal["none", "relu", "silu"]


class Cost(NamedTuple):
    """Multiply-adds for one image, and parameters, of a network or a part of it."""

    macs: int
    params: int


class Op(NamedTuple):
    """A convolution without bias, padded by half its kernel, the batch norm after it, and what follows the norm.

    Attributes:
        inputs, out: channels.
        kernel: side of the kernel in pixels, odd.
        groups: 1, or the number of channels for a depthwise convolution.
        squeeze: middle channels of a squeeze-and-excitation after the activation (arXiv:1709.01507); 0 for none.
    """

    inputs: int
    out: int
    kernel: int
    stride: int = 1
    groups: int = 1
    act: Act = "none"
    squeeze: int = 0

    @property
    def weights(self) -> int:
        return self.kernel**2 * (self.inputs // self.groups) * self.out

    @property
    def slices(self) -> bool:
        """Whether the leading outputs of a wider operation are those of this one."""
        return self.groups == 1 and not self.squeeze

    def cost(self, side: int) -> Cost:
        """The cost if the output is `side` x `side`. A norm costs its affine parameters, and no multiply-adds."""
        gate = 2 * self.out * self.squeeze
        params = self.weights + 2 * self.out + (gate + self.squeeze + self.out if self.squeeze else 0)
        return Cost(self.weights * side * side + gate, params)


class Block(NamedTuple):
    """Operations on the main path, the shortcut, and what follows their sum.

    Blocks that are equal and use equal tensors compute the same function.

    Attributes:
        main: () is the identity.
        shortcut: () is the identity, one operation is a projection; None if nothing is added.
        after: activation of the sum, or of the main path's output if there is no shortcut.
        pool: whether a 3x3 max pooling of stride 2 comes last.
    """

    main: tuple[Op, ...]
    shortcut: tuple[Op, ...] | None
    after: Act = "none"
    pool: bool = False

    @property
    def inputs(self) -> int:
        """Channels of the input; the block must have an operation."""
        return self.main[0].inputs

    @property
    def out(self) -> int:
        """Channels of the output; the block must have an operation."""
        return self.main[-1].out

    def ops(self) -> tuple[Op, ...]:
        """All operations, those of the main path first."""
        return (*self.main, *(self.shortcut or ()))

    def cost(self, side: int) -> Cost:
        """The cost if the input is `side` x `side`."""
        return total(op.cost(after) for op, after in zip(self.ops(), self.sides(side), strict=True))

    def sides(self, side: int) -> list[int]:
        """Side of each operation's output in pixels, in the order of `ops`, if the input is `side` x `side`."""
        after = []
        for op in self.main:
            side = side_after(side, op.stride)
            after.append(side)
        return [*after, *[side] * len(self.shortcut or ())]

    def side_after(self, side: int) -> int:
        """Side of the block's output, if the input is `side` x `side`."""
        for stride in [*(op.stride for op in self.main), *([2] if self.pool else [])]:
            side = side_after(side, stride)
        return side


class Placed(NamedTuple):
    """A block and the stored tensors that serve it: what a prefix tree compares.

    Attributes:
        home: number of the block's place in the space, and number of the group of tensors at this place.
    """

    block: Block
    home: tuple[int, int]


class Head(NamedTuple):
    """The mean over pixels, a hidden layer (0: none) with its activation, and the classifier."""

    inputs: int
    hidden: int = 0
    act: Act = "none"

    def cost(self, classes: int) -> Cost:
        """The cost with so many classes; a layer has a bias."""
        layers = [(self.inputs, self.hidden), (self.hidden, classes)] if self.hidden else [(self.inputs, classes)]
        return Cost(sum(one * other for one, other in layers), sum((one + 1) * other for one, other in layers))


IDENTITY = Block((), None)


def basic(inputs: int, mid: int, out: int, stride: int = 1, *, projects: bool = True) -> Block:
    """Two 3x3 convolutions (arXiv:1512.03385), see `residual`."""
    return residual((Op(inputs, mid, 3, stride, act="relu"), Op(mid, out, 3)), "relu", projects=projects)


def bottleneck(inputs: int, mid: int, out: int, stride: int = 1, *, projects: bool = True) -> Block:
    """1x1, 3x3 and 1x1 convolutions (arXiv:1512.03385), see `residual`. It strides in its 3x3, as in torchvision."""
    main = (Op(inputs, mid, 1, act="relu"), Op(mid, mid, 3, stride, act="relu"), Op(mid, out, 1))
    return residual(main, "relu", projects=projects)


def inverted_residual(
    inputs: int, mid: int, out: int, kernel: int, stride: int = 1, act: Act = "relu", squeeze: int = 0
) -> Block:
    """1x1, depthwise and 1x1 convolutions with an identity where the shape allows it (arXiv:1801.04381)."""
    expand = Op(inputs, mid, 1, act=act)
    return residual((expand, Op(mid, mid, kernel, stride, mid, act, squeeze), Op(mid, out, 1)), "none", projects=False)


def residual(main: tuple[Op, ...], after: Act, *, projects: bool) -> Block:
    """A block whose shortcut is the identity where the shape does not change.

    Args:
        projects: whether the shortcut is a 1x1 convolution elsewhere; if not, there is none.
    """
    inputs, out, stride = main[0].inputs, main[-1].out, max(op.stride for op in main)
    if inputs == out and stride == 1:
        return Block(main, (), after)
    return Block(main, (Op(inputs, out, 1, stride),) if projects else None, after)


def widest(blocks: Iterable[Block]) -> Block:
    """The block whose tensors contain those of all given blocks: leading channels, and the centre of each kernel.

    Raises:
        InputError: two of them differ in more than sizes.
    """
    distinct = dict.fromkeys(block for block in blocks if block.main)
    if not distinct:
        return IDENTITY
    mains = {len(block.main) for block in distinct}
    if len(mains) > 1:
        raise InputError(f"blocks of {sorted(mains)} operations cannot share tensors; let each choice have its own")
    main = tuple(_widest(ops) for ops in zip(*(block.main for block in distinct), strict=True))
    projections = [block.shortcut for block in distinct if block.shortcut]
    shortcuts = tuple(_widest(ops) for ops in zip(*projections, strict=True))
    first = next(iter(distinct))
    shortcut = None if all(block.shortcut is None for block in distinct) else shortcuts
    return Block(main, shortcut, first.after, first.pool)


def _widest(ops: Sequence[Op]) -> Op:
    inputs, out, kernel, strides, groups, acts, squeeze = zip(*ops, strict=True)
    whole = {op.groups == 1 for op in ops if op.inputs * op.out > 1}  # on one channel, depthwise is whole
    if len({*strides}) > 1 or len({*acts}) > 1 or len(whole) > 1:
        raise InputError(f"operations {ops[0]} and {ops[1]} cannot share tensors; let each choice have its own")
    return Op(max(inputs), max(out), max(kernel), strides[0], max(groups), acts[0], max(squeeze))


def side_after(side: int, stride: int) -> int:
    """Side of the output of a convolution that is padded by half its kernel, in pixels.

    >>> side_after(7, 2)
    4
    """
    return -(-side // stride)


def total(costs: Iterable[Cost]) -> Cost:
    macs = params = 0
    for cost in costs:
        macs, params = macs + cost.macs, params + cost.params
    return Cost(macs, params)
