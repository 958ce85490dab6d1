"""An arch: what varies between the subnets of a space, and nothing else."""

from dataclasses import dataclass

from fewshot_nas.errors import InputError


@dataclass(frozen=True, slots=True)
class Arch:
    """One subnet: a digit per stage for the blocks' outputs, a digit per block for the middle.

    Digits count from 1, the widest; a `SearchSpace` turns them into widths, and its `check` says
    whether the arch is one of its own. The depth of a stage is the number of its mids. The stem
    has the first stage's out digit.
    """

    outs: tuple[int, ...]
    mids: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.outs or len(self.outs) != len(self.mids):
            raise InputError(
                f"an arch has as many outs as stages with mids, got {len(self.outs)} outs and {len(self.mids)} mids"
            )
        if min(self.outs) < 1:
            raise InputError(f"out digits are {self.outs}, expected each to be at least 1")
        for stage, mids in enumerate(self.mids, start=1):
            if not mids or min(mids) < 1:
                raise InputError(f"stage {stage} has mid digits {mids}, expected one or more, each at least 1")

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks per stage."""
        return tuple(map(len, self.mids))
