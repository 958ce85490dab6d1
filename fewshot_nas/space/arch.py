"""An arch, and the 52-character code that stands for it in files.

The code is the competition's: a literal `1`, four depth digits, the stem's digit, then for each
of a stage's block slots two digits, `mid` and `out`; a slot without a block is `00`. Much of
that is redundant, so an `Arch` keeps only what varies, and `decode` refuses a code whose
redundant parts disagree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from fewshot_nas.errors import InputError

STAGES = 4
MIN_DEPTHS = (2, 2, 2, 2)
MAX_DEPTHS = (5, 5, 8, 5)
DIGITS = 7
POOL_DIGITS = (3, 3, 5, 7)  # the pool uses the digits 1..n of each stage
CODE_LENGTH = 1 + STAGES + 1 + 2 * sum(MAX_DEPTHS)
_STARTS = (6, 16, 26, 42)  # where each stage's block slots begin
_DIGITS = frozenset(range(1, DIGITS + 1))
_TEXT_DIGITS = "1234567"
_TO_TEXT = bytes((byte + ord("0")) % 256 for byte in range(256))
_TO_DIGITS = bytes((byte - ord("0")) % 256 for byte in range(256))


@dataclass(frozen=True, slots=True)
class Arch:
    """One subnet: a digit per stage for the blocks' outputs, a digit per block for the middle.

    Digits count from 1, the widest, to 7; a `SearchSpace` turns them into widths. The depth of
    a stage is the number of its mids. The stem has the first stage's out digit.
    """

    outs: tuple[int, ...]
    mids: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.outs) != STAGES or len(self.mids) != STAGES:
            raise InputError(f"an arch has {STAGES} stages, got {len(self.outs)} outs and {len(self.mids)} mids")
        if not _DIGITS.issuperset(self.outs):
            raise InputError(f"out digits are {self.outs}, expected each in 1..{DIGITS}")
        for stage, mids in enumerate(self.mids):
            if not MIN_DEPTHS[stage] <= len(mids) <= MAX_DEPTHS[stage]:
                raise InputError(f"{_depth_rule(stage)}, got {len(mids)}")
            if not _DIGITS.issuperset(mids):
                raise InputError(f"stage {stage + 1} has mid digits {mids}, expected each in 1..{DIGITS}")

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks per stage."""
        return tuple(map(len, self.mids))


def encode(arch: Arch) -> str:
    """The 52-character code of an arch; `decode` reads it back."""
    code = bytearray(CODE_LENGTH)
    code[0] = 1
    code[1 : 1 + STAGES] = bytes(arch.depths)
    code[1 + STAGES] = arch.outs[0]
    for start, out, mids in zip(_STARTS, arch.outs, arch.mids, strict=True):
        end = start + 2 * len(mids)
        code[start:end:2] = bytes(mids)
        code[start + 1 : end : 2] = bytes((out,)) * len(mids)
    return code.translate(_TO_TEXT).decode()


def decode(code: str) -> Arch:
    """The arch that a code stands for.

    The form without the leading `1` (51 characters), which also occurs, is accepted.

    Raises:
        InputError: the code is not one of the space; says at which character, counted from 1.
    """
    # No depth is 1, so 51 characters that begin with 1 are a whole code cut short.
    bare = len(code) == CODE_LENGTH - 1 and not code.startswith("1")
    full = "1" + code if bare else code
    if len(full) != CODE_LENGTH:
        raise InputError(f"code {code!r} has {len(code)} characters, expected {CODE_LENGTH}")
    digits = full.encode("ascii", "replace").translate(_TO_DIGITS)
    if digits[0] != 1 or digits[5] != digits[7]:
        _refuse(code, full)
    mids = []
    for stage, (start, slots) in enumerate(zip(_STARTS, MAX_DEPTHS, strict=True)):
        depth, out = digits[1 + stage], digits[start + 1]
        end = start + 2 * depth
        live = digits[start:end]
        if (
            not MIN_DEPTHS[stage] <= depth <= slots
            or not _DIGITS.issuperset(live)
            or live[1::2] != bytes((out,)) * depth
            or any(digits[end : start + 2 * slots])
        ):
            _refuse(code, full)
        mids.append(tuple(live[::2]))
    return Arch(tuple(digits[start + 1] for start in _STARTS), tuple(mids))


def _refuse(code: str, full: str) -> NoReturn:
    """Say where a code of the right length first breaks the rules."""
    position, rule = next(_violations(full))
    shown = position - (len(full) - len(code))
    raise InputError(f"code {code!r}: character {shown + 1} is {full[position]!r}, but {rule}")


def _violations(full: str) -> Iterator[tuple[int, str]]:
    if full[0] != "1":
        yield 0, "a code begins with '1'"
    for stage in range(STAGES):
        if full[1 + stage] not in map(str, range(MIN_DEPTHS[stage], MAX_DEPTHS[stage] + 1)):
            yield 1 + stage, _depth_rule(stage)
    if full[5] not in _TEXT_DIGITS:
        yield 5, f"the stem's digit is in 1..{DIGITS}"
    for stage, (start, slots) in enumerate(zip(_STARTS, MAX_DEPTHS, strict=True)):
        yield from _stage_violations(full, stage, start, slots)


def _stage_violations(full: str, stage: int, start: int, slots: int) -> Iterator[tuple[int, str]]:
    depth = int(full[1 + stage])
    out = full[5] if stage == 0 else full[start + 1]
    for position in range(start, start + 2 * slots):
        slot, is_out = divmod(position - start, 2)
        where = f"block {slot + 1} of stage {stage + 1}"
        if slot >= depth:
            if full[position] != "0":
                yield position, f"{where} is absent (depth {depth}) and is written '00'"
        elif full[position] not in _TEXT_DIGITS:
            yield position, f"digits of {where} are in 1..{DIGITS}"
        elif is_out and full[position] != out:
            yield (
                position,
                f"every out digit of stage {stage + 1} is {out!r}"
                + (", as the stem's" if stage == 0 else ", as its first block's"),
            )


def _depth_rule(stage: int) -> str:
    return f"stage {stage + 1} has {MIN_DEPTHS[stage]}..{MAX_DEPTHS[stage]} blocks"
