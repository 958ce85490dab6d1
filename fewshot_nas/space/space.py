"""A search space: slots with options, and the one place where choices become shapes. Standard library only.

A space of your own derives from `Space` and says four things: its `slots`, the `places` at which blocks stand, the
block at each place (`block_at`), and the `head`. Codes, pools, draws, costs, networks, supernets, splits, searches and
reports follow from them. `macro.py` is the shortest example.
"""

import dataclasses
import math
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.block import Block, Cost, Head, total

Arch: TypeAlias = tuple[int, ...]  # the option taken at each slot of a space; 0 at a slot that the arch does not have
Options: TypeAlias = tuple[tuple[int, ...], ...]  # for each slot, the options to choose from

STEM = -1  # the stage of blocks before the first stage
_CHANGED = " changed"


class Slot(NamedTuple):
    """A choice that an arch makes.

    Attributes:
        name: the stage, then what is chosen, such as `0 out` or `2 mid 5`; unique in a space.
        stage: number of the stage, from 0.
        role: `depth` (number of blocks), `out` (width between the blocks of a stage), `mid` (width inside a block)
            or `block` (which block).
        options: positive numbers, or from 0 where the slot is always there.
        falling: whether the first option makes the largest network; else the last one does.
        when: the slot is there only if the option at slot number `when[0]` is at least `when[1]`.
    """

    name: str
    stage: int
    role: Literal["depth", "out", "mid", "block"]
    options: tuple[int, ...]
    falling: bool = False
    when: tuple[int, int] | None = None


class Place(NamedTuple):
    """Where a block stands.

    Attributes:
        stage: number of the stage, `STEM` for the stem.
        reads: numbers of the slots on which the block depends.
        out: the one of them that gives the output width, if there is one.
        choice: the one of them whose options have tensors of their own in a supernet, if there is one.
        when: as in `Slot`.
    """

    stage: int
    reads: tuple[int, ...] = ()
    out: int | None = None
    choice: int | None = None
    when: tuple[int, int] | None = None


@dataclass(frozen=True)
class Space(ABC):
    """A family of networks and the codes that stand for them. Subclasses are frozen dataclasses.

    Attributes:
        starts_as_shortcuts: whether a fresh block with a shortcut computes its shortcut only (arXiv:1706.02677).
        name: the preset's name, ending in ` changed` if values were replaced.
        in_channels, resolution: channels and side of the images, in pixels.
    """

    kind: ClassVar[str] = "own"  # in files, which name a space of your own by `module:name`
    starts_as_shortcuts: ClassVar[bool] = True
    name: str
    in_channels: int
    resolution: int

    @property
    @abstractmethod
    def slots(self) -> tuple[Slot, ...]:
        """The choices, in the order in which an `Arch` holds them and in which they are drawn."""

    @property
    @abstractmethod
    def places(self) -> tuple[Place, ...]:
        """The places of blocks, in the order of the network; the first is the stem's, which every arch has."""

    @abstractmethod
    def block_at(self, place: int, arch: Arch) -> Block:
        """The block at a place; only the slots that the place reads count."""

    @abstractmethod
    def head(self, arch: Arch) -> Head:
        """What follows the last block; only the slots that `head_reads` names count."""

    @property
    def head_reads(self) -> tuple[int, ...]:
        """Numbers of the slots on which the head depends."""
        return ()

    def encode(self, arch: Arch) -> str:
        """The code of an arch: here one digit for each slot. `decode` reads it back.

        Raises:
            InputError: the arch does not belong to this space, see `check`.
        """
        self.check(arch)
        return "".join(map(str, arch))

    def decode(self, code: str) -> Arch:
        """The arch that a code stands for.

        Raises:
            InputError: the code is malformed; names the first wrong character, counted from 1.
        """
        if len(code) != len(self.slots) or not (code.isascii() and code.isdigit()):
            raise InputError(f"code {code!r} is not one of space {self.name}, expected {len(self.slots)} digits")
        arch = tuple(map(int, code))
        for number, slot in enumerate(self.slots):
            if arch[number] not in self._allowed(number, arch):
                raise InputError(
                    f"code {code!r}: character {number + 1} is {code[number]!r}, but slot {slot.name} has the options"
                    f" {', '.join(map(str, self._allowed(number, arch)))}"
                )
        return arch

    @property
    def code_length(self) -> int:
        return len(self.slots)

    @property
    def pool_options(self) -> Options:
        """The options that archs of the pool use."""
        return self.all_options

    @cached_property
    def all_options(self) -> Options:
        return tuple(slot.options for slot in self.slots)

    @property
    def stages(self) -> int:
        """Number of stages; the stem is none."""
        return 1 + max(place.stage for place in self.places)

    def check(self, arch: Arch) -> None:
        """Refuse an arch that does not belong to this space.

        Raises:
            InputError: names the first slot that is wrong, and its options.
        """
        if len(arch) != len(self.slots):
            raise InputError(f"an arch of space {self.name} has {len(self.slots)} choices, got {len(arch)}")
        for number, value in enumerate(arch):
            if value not in self._allowed(number, arch):
                options = ", ".join(map(str, self._allowed(number, arch)))
                raise InputError(f"slot {self.slots[number].name} is {value}, expected one of {options}")

    def _allowed(self, number: int, arch: Sequence[int]) -> tuple[int, ...]:
        slot = self.slots[number]
        return slot.options if present(slot.when, arch) else (0,)

    def canonical(self, choices: Sequence[int]) -> Arch:
        """The arch that takes these choices; those of slots that it does not have become 0."""
        return tuple(
            value if present(slot.when, choices) else 0 for slot, value in zip(self.slots, choices, strict=True)
        )

    def in_pool(self, arch: Arch) -> bool:
        """Whether an arch takes the pool's options only."""
        return all(not value or value in options for value, options in zip(arch, self.pool_options, strict=True))

    def count(self, options: Options) -> int:
        """The number of archs that take these options."""
        inner = {slot.when[0] for slot in self.slots if slot.when}
        numbers = []
        for number, slot in enumerate(self.slots):
            if number in inner:
                ways = (self._children(number, value, options) for value in options[number])
                numbers.append(sum(ways))
            elif not slot.when:
                numbers.append(len(options[number]))
        return math.prod(numbers)

    def _children(self, parent: int, value: int, options: Options) -> int:
        return math.prod(
            len(options[number])
            for number, slot in enumerate(self.slots)
            if slot.when and slot.when[0] == parent and value >= slot.when[1]
        )

    def blocks(self, arch: Arch) -> list[tuple[int, Block]]:
        """The blocks of an arch with their places, in order; the first is the stem. Identities are left out.

        Raises:
            InputError: the arch does not belong to this space, see `check`.
        """
        self.check(arch)
        there = (number for number, place in enumerate(self.places) if present(place.when, arch))
        return [(number, block) for number in there if (block := self.known_block(number, arch)).main]

    def known_block(self, place: int, arch: Arch) -> Block:
        """As `block_at`, which makes each block of the space once."""
        key = (place, *(arch[slot] for slot in self.places[place].reads))
        if (block := self._known.get(key)) is None:
            block = self._known[key] = self.block_at(place, arch)
        return block

    def known_head(self, arch: Arch) -> Head:
        """As `head`, which makes each head of the space once."""
        key = ("head", *(arch[slot] for slot in self.head_reads))
        if (head := self._known.get(key)) is None:
            head = self._known[key] = self.head(arch)
        return head

    @cached_property
    def _known(self) -> dict[Any, Any]:
        return {}  # blocks, heads, costs and sides that were computed before

    def depth(self, arch: Arch) -> int:
        """Number of blocks of an arch, without the stem and without identities."""
        return sum(self.places[place].stage != STEM for place, _ in self.blocks(arch))

    @property
    def reduction(self) -> int:
        """By how much a network makes the side of a map smaller."""
        blocks = [block for _, block in self.blocks(self.largest)]
        strides = [op.stride for block in blocks for op in block.main]
        pools = [2 for block in blocks if block.pool]
        return math.prod([*strides, *pools])

    @property
    def least_resolution(self) -> int:
        """The smallest side of images that suits the networks, in pixels."""
        return self.reduction

    def sides(self, resolution: int | None = None) -> tuple[int, ...]:
        """Side of the map before each place, and before the head, in pixels.

        Args:
            resolution: side of the square input; the space's own if None.
        """
        asked = resolution or self.resolution
        if ("sides", asked) not in self._known:
            side, found = asked, []
            for number in range(len(self.places)):
                found.append(side)
                side = self.block_at(number, self.largest).side_after(side)
            self._known["sides", asked] = (*found, side)
        return self._known["sides", asked]  # type: ignore[no-any-return]

    def extreme(self, options: Options, *, largest: bool) -> Arch:
        """The arch that takes the largest option everywhere, or the smallest."""
        return self.canonical(
            [each[0] if slot.falling == largest else each[-1] for slot, each in zip(self.slots, options, strict=True)]
        )

    @cached_property
    def largest(self) -> Arch:
        """The arch with the largest option everywhere."""
        return self.extreme(self.all_options, largest=True)

    @cached_property
    def smallest(self) -> Arch:
        """The arch with the smallest option everywhere."""
        return self.extreme(self.all_options, largest=False)

    @cached_property
    def readers(self) -> Counter[int]:
        """For each slot, how many blocks and heads read it; one that a single block reads changes nothing else."""
        return Counter([slot for place in self.places for slot in place.reads] + [*self.head_reads])

    def archs_that_read(self, slots: Sequence[int], options: Options) -> Iterator[Arch]:
        """For each combination of options at the given slots, an arch that has it; it has all other slots, too."""
        base = list(self.extreme(options, largest=True))
        depths = [number for number, slot in enumerate(self.slots) if slot.role == "depth" and number not in slots]
        for number in depths:
            base[number] = max(options[number])
        for values in product(*(options[slot] for slot in slots)):
            for slot, value in zip(slots, values, strict=True):
                base[slot] = value
            yield tuple(base)

    def cost(self, arch: Arch, *, resolution: int | None = None, num_classes: int = 1000) -> Cost:
        """Multiply-adds for one image, and parameters, of a subnet.

        Args:
            resolution: side of the square input in pixels; the space's own if None.
        """
        sides, costs = self.sides(resolution), []
        for place, block in self.blocks(arch):
            key = (block, sides[place])
            if (cost := self._known.get(key)) is None:
                cost = self._known[key] = block.cost(sides[place])
            costs.append(cost)
        return total([*costs, self.head(arch).cost(num_classes)])

    def values(self) -> dict[str, Any]:
        """The space as plain values, for files; `presets.space_of` reads them back."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def refuse(self, reason: str) -> None:
        raise InputError(f"space {self.name}: {reason}")


def present(when: tuple[int, int] | None, arch: Sequence[int]) -> bool:
    """Whether an arch has what stands under this condition, see `Slot.when`."""
    return when is None or arch[when[0]] >= when[1]


def random_arch(space: Space, rng: random.Random, options: Options | None = None) -> Arch:
    """An arch whose choices are all drawn uniformly.

    Args:
        options: for each slot, the options to draw from; all options of the space if None.
    """
    # Choices are drawn for absent slots too; otherwise the draws of a block would depend on other depths.
    return space.canonical([each[int(rng.random() * len(each))] for each in options or space.all_options])


def changed(name: str) -> str:
    """The name of a preset whose values were replaced."""
    return name + _CHANGED


def preset_of(name: str) -> str:
    """The preset that a space's name begins with."""
    return name.removesuffix(_CHANGED)


def round_width(value: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `value`; the next one if that is less than 90 % of it."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def immutable(value: Any) -> Any:
    """Lists, as files have them, made tuples at any depth."""
    return tuple(map(immutable, value)) if isinstance(value, list | tuple) else value
