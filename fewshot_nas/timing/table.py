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
from typing import Any, NamedTuple

from fewshot_nas.comparing import refuse_difference
from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json, write_json
from fewshot_nas.scores.manifests import Network
from fewshot_nas.space.block import Block
from fewshot_nas.space.measure import Measure
from fewshot_nas.space.search_space import SearchSpace

FORMAT = "fewshot_nas latency 1"


class Stem(NamedTuple):
    """The first convolution with its output channels, and the pooling after it if the space has one."""

    width: int


class Head(NamedTuple):
    """The classifier with its input channels, and the mean over pixels before it."""

    width: int


Part = Stem | Block | Head
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
        digits: the widths of the digits 1..digits[s] were measured in stage s.
        call: the time of an empty call.
        parts: the time of each part alone, with its call.
        validation: the errors of predictions on networks that nothing was fitted to.
    """

    device: Mapping[str, Any]
    space: SearchSpace
    num_classes: int
    digits: Sequence[int]
    call: Timing
    parts: Mapping[Part, Timing]
    fit: LatencyFit
    validation: Mapping[str, Any]

    @property
    def measure(self) -> Measure:
        """Predicted latency in microseconds, as a cost that adds up.

        Its functions raise InputError for a part that was not measured.
        """
        fit = self.fit
        return Measure(
            lambda width: fit.constant_us + fit.scale * self.net_us(Stem(width)),
            lambda block: fit.per_block_us[block.stage] + fit.scale * self.net_us(block),
            lambda width: fit.scale * self.net_us(Head(width)),
        )

    def net_us(self, part: Part) -> float:
        """A part's microseconds without the call.

        Raises:
            InputError: it was not measured.
        """
        if part not in self.parts:
            raise InputError(
                f"the table of latencies has no {_said(part)}; it was measured for the digits 1 to"
                f" {', '.join(map(str, self.digits))} of the stages; measure it with --digits all"
            )
        alone = self.parts[part].us
        return max(alone - self.call.us, LEAST_SHARE * alone)


def write_table(path: Path, table: LatencyTable) -> None:
    """Write a table, whole or not at all."""
    write_json(
        path,
        {
            "format": FORMAT,
            "device": dict(table.device),
            "space": table.space.values(),
            "num_classes": table.num_classes,
            "digits": list(table.digits),
            "call": table.call._asdict(),
            "fit": asdict(table.fit),
            "validation": dict(table.validation),
            "parts": [
                {"part": type(part).__name__.lower(), **part._asdict(), **timing._asdict()}
                for part, timing in table.parts.items()
            ],
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
            SearchSpace.of(content["space"]),
            int(content["num_classes"]),
            tuple(content["digits"]),
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


def _read_part(value: Mapping[str, Any]) -> tuple[Part, Timing]:
    values = dict(value)
    kind = {"stem": Stem, "block": Block, "head": Head}[values.pop("part")]
    timing = Timing(float(values.pop("us")), float(values.pop("spread")))
    return kind(**values), timing


def _said(part: Part) -> str:
    if isinstance(part, Block):
        widths = f"{part.inputs}, {part.mid} and {part.out} channels"
        return f"block of stage {part.stage + 1} with {widths}, stride {part.stride}"
    return f"{type(part).__name__.lower()} of {part.width} channels"
