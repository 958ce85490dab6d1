"""An arch: the choices that differ between the subnets of a space, and nothing else."""

from dataclasses import dataclass

from fewshot_nas.errors import InputError


@dataclass(frozen=True, slots=True)
class Arch:
    """One subnet: an out digit for each stage, and a mid digit for each block.

    A digit stands for a width: 1 is the widest. The out digit gives the output width of all blocks
    of a stage, a mid digit the middle width of one block. The depth of a stage is the number of its
    mid digits. The stem uses the first stage's out digit. A `SearchSpace` turns digits into widths,
    and its `check` says whether an arch belongs to the space.
    """

    outs: tuple[int, ...]
    mids: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.outs or len(self.outs) != len(self.mids):
            raise InputError(
                f"an arch needs one out digit and one list of mid digits for each stage, got {len(self.outs)} out"
                f" digits and {len(self.mids)} lists"
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
