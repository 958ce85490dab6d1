"""The code that stands for an arch in files: 52 characters for the competition's space.

The layout is the competition's: a literal `1`, the depth of each stage, the stem's digit, then two
digits, `mid` and `out`, for each block slot of each stage. A slot without a block is `00`. Much of
this is redundant. An arch keeps only what varies (the depths, the out digits, then the mid digits of all
slots), and `decode` refuses a code whose redundant parts disagree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NoReturn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.space import Arch

_TO_TEXT = bytes((byte + ord("0")) % 256 for byte in range(256))
_TO_DIGITS = bytes((byte - ord("0")) % 256 for byte in range(256))


@dataclass(frozen=True)
class Codes:
    """The codes of all archs with given depths and digits.

    Attributes:
        depths: the least and the largest number of blocks of each stage.
        digits: the largest digit, at most 9; widths are chosen by the digits 1..digits.
    """

    depths: tuple[tuple[int, int], ...]
    digits: int

    @cached_property
    def stages(self) -> int:
        return len(self.depths)

    @cached_property
    def length(self) -> int:
        return 2 + self.stages + 2 * sum(most for _, most in self.depths)

    def encode(self, arch: Arch) -> str:
        """The code of an arch, which must have been checked. `decode` reads it back."""
        depths, outs = arch[: self.stages], arch[self.stages : 2 * self.stages]
        code = bytearray(self.length)
        code[0] = 1
        code[1 : 1 + self.stages] = bytes(depths)
        code[1 + self.stages] = outs[0]
        first = 2 * self.stages
        for start, out, depth, (_, most) in zip(self._starts, outs, depths, self.depths, strict=True):
            end = start + 2 * depth
            code[start:end:2] = bytes(arch[first : first + depth])
            code[start + 1 : end : 2] = bytes((out,)) * depth
            first += most
        return code.translate(_TO_TEXT).decode()

    def decode(self, code: str) -> Arch:
        """The arch that a code stands for.

        Files also contain codes without the leading `1`; these are accepted.

        Raises:
            InputError: the code is malformed; names the first wrong character, counted from 1.
        """
        # If a code that is one character short begins with 1, its last character is missing, not its first.
        bare = len(code) == self.length - 1 and not code.startswith("1")
        full = "1" + code if bare else code
        if len(full) != self.length:
            raise InputError(f"code {code!r} has {len(code)} characters, expected {self.length}")
        digits = full.encode("ascii", "replace").translate(_TO_DIGITS)
        if digits[0] != 1 or digits[1 + self.stages] != digits[self._starts[0] + 1]:
            self._refuse(code, full)
        mids: list[int] = []
        for stage, (start, (least, most)) in enumerate(zip(self._starts, self.depths, strict=True)):
            depth, out = digits[1 + stage], digits[start + 1]
            end = start + 2 * depth
            live = digits[start:end]
            if (
                not least <= depth <= most
                or not self._known.issuperset(live)
                or live[1::2] != bytes((out,)) * depth
                or any(digits[end : start + 2 * most])
            ):
                self._refuse(code, full)
            mids += [*live[::2], *(0,) * (most - depth)]
        return (*digits[1 : 1 + self.stages], *(digits[start + 1] for start in self._starts), *mids)

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        """Where each stage's block slots begin."""
        slots = (2 * most for _, most in self.depths)
        return tuple(accumulate(slots, initial=2 + self.stages))[:-1]

    @cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(range(1, self.digits + 1))

    def _refuse(self, code: str, full: str) -> NoReturn:
        """Name the first character at which a code of the right length breaks the rules."""
        position, rule = next(self._violations(full))
        shown = position - (len(full) - len(code))
        raise InputError(f"code {code!r}: character {shown + 1} is {full[position]!r}, but {rule}")

    def _violations(self, full: str) -> Iterator[tuple[int, str]]:
        if full[0] != "1":
            yield 0, "a code begins with '1'"
        for stage, (least, most) in enumerate(self.depths):
            if full[1 + stage] not in map(str, range(least, most + 1)):
                yield 1 + stage, f"stage {stage + 1} has {least}..{most} blocks"
        if not self._is_digit(full[1 + self.stages]):
            yield 1 + self.stages, f"the stem's digit is in 1..{self.digits}"
        for stage in range(self.stages):
            yield from self._stage_violations(full, stage)

    def _stage_violations(self, full: str, stage: int) -> Iterator[tuple[int, str]]:
        start, depth = self._starts[stage], int(full[1 + stage])
        out = full[1 + self.stages] if stage == 0 else full[start + 1]
        for position in range(start, start + 2 * self.depths[stage][1]):
            slot, is_out = divmod(position - start, 2)
            where = f"block {slot + 1} of stage {stage + 1}"
            if slot >= depth:
                if full[position] != "0":
                    yield position, f"{where} is absent (depth {depth}) and is written '00'"
            elif not self._is_digit(full[position]):
                yield position, f"digits of {where} are in 1..{self.digits}"
            elif is_out and full[position] != out:
                source = "the stem's" if stage == 0 else "its first block's"
                yield position, f"every out digit of stage {stage + 1} is {out!r}, as {source}"

    def _is_digit(self, character: str) -> bool:
        return character in map(str, self._known)
