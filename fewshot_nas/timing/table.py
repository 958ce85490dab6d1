"""A table of the latencies of a space's parts on one device, and the prediction for any network.

Predicted latency in microseconds = a constant + scale * (sum of the parts' latencies, each less that of an empty
call) + a constant for each block of a stage. A part alone does not take the same time as inside of a network: it
is called by itself, and no part before it has left its input in the cache. So the constants and the scale are
fitted to whole networks, and judged on others.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.records.journal import refuse_difference
from fewshot_nas.results.scores import Network
from fewshot_nas.space.block import Block, Head, Op
from fewshot_nas.space.cost import Measure
from fewshot_nas.space.presets import space_of
from fewshot_nas.space.space import STEM, Space

FORMAT = "fewshot_nas latency 1"


class Sized(NamedTuple):
    """A block, and the side of its input in pixels."""

    block: Block
    side: int


Part = Sized | Head
LEAST_SHARE = 0.02  # of a part's time remains at least after the call is taken off; noise must not make it negative


class Call(NamedTuple):
    """An empty call: a network of one operation on one number."""


class Timing(NamedTuple):
    """Microseconds: the median over rounds, and half of the rounds' middle range relative to it."""

    us: float
    spread: float


@dataclass(frozen=True)
class LatencyFit:
    """The constants of the prediction.

    Attributes:
        constant_us: microseconds of any network.
        scale: factor of all parts.
        per_block_us: microseconds of each block, by stage.
    """

    constant_us: float
    scale: float
    per_block_us: tuple[float, ...]


@dataclass(frozen=True)
class LatencyTable:
    """The measurements on a device.

    Attributes:
        device: its description, and that of its software.
        num_classes: number of the classifier's outputs.
        options: which of the space's options were measured.
        call: the time of an empty call.
        parts: the time of each part alone, with its call.
        validation: the errors of predictions on networks that nothing was fitted to.
    """

    device: Mapping[str, Any]
    space: Space
    num_classes: int
    options: Literal["pool", "all"]
    call: Timing
    parts: Mapping[Part, Timing]
    fit: LatencyFit
    validation: Mapping[str, Any]

    @property
    def measure(self) -> Measure:
        """Predicted latency in microseconds, as a cost that adds up.

        Its functions raise InputError for a part that was not measured.
        """
        fit, places, sides = self.fit, self.space.places, self.space.sides()

        def block_us(place: int, block: Block) -> float:
            stage = places[place].stage
            own = fit.per_block_us[stage] if stage != STEM else 0.0
            return own + fit.scale * self.net_us(Sized(block, sides[place]))

        return Measure(block_us, lambda head: fit.constant_us + fit.scale * self.net_us(head))

    def net_us(self, part: Part) -> float:
        """A part's microseconds without the call.

        Raises:
            InputError: it was not measured.
        """
        if part not in self.parts:
            raise InputError(
                f"the table of latencies has no {_said(part)}; it was measured for the {self.options} options of the"
                " space; measure it with --digits all"
            )
        alone = self.parts[part].us
        return max(alone - self.call.us, LEAST_SHARE * alone)


def write_table(path: Path, table: LatencyTable) -> None:
    write_json(
        path,
        {
            "format": FORMAT,
            "device": dict(table.device),
            "space": table.space.values(),
            "num_classes": table.num_classes,
            "options": table.options,
            "call": table.call._asdict(),
            "fit": asdict(table.fit),
            "validation": dict(table.validation),
            "parts": [{**_written(part), **timing._asdict()} for part, timing in table.parts.items()],
        },
    )


def read_table(path: Path) -> LatencyTable:
    """Read a table.

    Raises:
        InputError: the file holds none.
    """
    content = read_json(path)
    try:
        if content["format"] != FORMAT:
            raise KeyError("format")
        fit = content["fit"]
        return LatencyTable(
            dict(content["device"]),
            space_of(content["space"]),
            int(content["num_classes"]),
            content["options"],
            Timing(**content["call"]),
            dict(map(_read_part, content["parts"])),
            LatencyFit(float(fit["constant_us"]), float(fit["scale"]), tuple(map(float, fit["per_block_us"]))),
            dict(content["validation"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: is not a table of latencies; the command latency measures one") from None


def chosen_path(named: Path | None, known: Sequence[Path]) -> Path | None:
    """The table that was named, or the only one that a run has; None where it has none.

    Raises:
        InputError: it has several.
    """
    if named is None and len(known) > 1:
        names = " and ".join(path.name for path in known)
        raise InputError(f"{known[0].parent} has the tables {names}; name one with --latency")
    return named or (known[0] if known else None)


@contextmanager
def left_out_unless(needed: bool) -> Iterator[None]:
    """Do without latencies that nothing asks for, where the tables cannot be used; says why on standard error."""
    try:
        yield
    except InputError as error:
        if needed:
            raise
        print(f"latencies are left out: {error}", file=sys.stderr)


def table_of(path: Path, network: Network) -> LatencyTable:
    """Read a table for networks of a space and a number of classes.

    Raises:
        InputError: the file holds none, or one of other networks.
    """
    table = read_table(path)
    measured = {"space": asdict(table.space), "num_classes": table.num_classes}
    asked = asdict(replace(network.space, resolution=network.resolution))
    remedy = "measure one of this run, or name another with --latency"
    wanted = {"space": asked, "num_classes": network.num_classes}
    refuse_difference(f"{path}: was measured for", measured, wanted, remedy)
    return table


def _written(part: Part) -> dict[str, Any]:
    if isinstance(part, Head):
        return {"part": "head", **part._asdict()}
    block = part.block._asdict()
    for key in ("main", "shortcut"):
        block[key] = None if block[key] is None else [op._asdict() for op in block[key]]
    return {"part": "block", **block, "side": part.side}


def _read_part(value: Mapping[str, Any]) -> tuple[Part, Timing]:
    values = dict(value)
    timing = Timing(float(values.pop("us")), float(values.pop("spread")))
    if values.pop("part") == "head":
        return Head(**values), timing
    side = int(values.pop("side"))
    for key in ("main", "shortcut"):
        values[key] = None if values[key] is None else tuple(Op(**op) for op in values[key])
    return Sized(Block(**values), side), timing


def _said(part: Part) -> str:
    if isinstance(part, Head):
        return f"head of {part.inputs} channels"
    widths = " to ".join(str(width) for width in (part.block.inputs, *(op.out for op in part.block.main)))
    return f"block of {widths} channels on {part.side} x {part.side} pixels"
