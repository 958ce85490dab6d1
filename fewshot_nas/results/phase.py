"""A phase of training, and its name."""

import re
from dataclasses import dataclass

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.split import MAX_GROUPS

# A split by width is named by its number of groups; `on` is the parent's split, trained on. No other directory of a run
# has a name like the other splits'.
_PART = rf"[1-{MAX_GROUPS}]|depth\d+x\d|choice[a-z0-9]+|on|table-[a-z0-9]+"
_SPLIT = rf"(?:{_PART})(?:-(?:{_PART}))*"


@dataclass(frozen=True)
class Phase:
    """A phase of training: the names of its split and of its parent's split ("" for the one-shot phase).

    A split by width is named by its number of groups, so the one-shot phase is 1.
    """

    split: str
    parent: str

    def __post_init__(self) -> None:
        numbers = [int(name) for name in (self.split, self.parent or "0") if name.isdigit()]
        falls = len(numbers) == 2 and not numbers[1] < numbers[0]
        if (self.split == "1") != (self.parent == "") or falls or max(numbers, default=0) > MAX_GROUPS:
            raise InputError(
                f"a phase with {self.split} groups cannot follow one with {self.parent or 0},"
                f" expected more groups than its parent has, and at most {MAX_GROUPS}"
            )
        for name in (self.split, self.parent or "1"):
            if not re.fullmatch(_SPLIT, name):
                raise InputError(f"{name!r} is not the name of a split, expected 2, depth34x2, table-mine, ...")

    @property
    def name(self) -> str:
        """`1`, `2`, `3_from_2`, `depth34x2`, ...; after the one-shot phase, a phase has the name of its split alone."""
        return self.split if self.parent in ("", "1") else f"{self.split}_from_{self.parent}"

    @property
    def training_options(self) -> dict[str, str]:
        """The options by which `train_few_shot` trains this phase.

        >>> Phase("depth34x2", "2").training_options
        {'phase': '2', 'split_by': 'depth', 'stages': '3,4'}
        """
        rule = re.findall(_PART, self.split)[-1]
        if depth := re.fullmatch(r"depth(\d+)x(\d)", rule):
            return {"phase": depth[2], "split_by": "depth", "stages": ",".join(depth[1])}
        if rule.startswith("table-"):
            return {"split": f"{rule.removeprefix('table-')}.json"}
        return {"phase": self.name if self.parent.isdigit() else rule}

    @property
    def order(self) -> tuple[bool, str, str]:
        """The key by which phases are sorted: first splits by width, from few groups to many."""
        return not self.split.isdigit(), self.split, self.parent

    @classmethod
    def parse(cls, name: str) -> "Phase":
        """The phase that has this name.

        Raises:
            InputError: no phase can have it.
        """
        match = re.fullmatch(rf"({_SPLIT})(?:_from_({_SPLIT}))?", name)
        if not match or match[2] == "1":
            raise InputError(f"{name!r} is not a phase, expected 1, 2, 3_from_2, depth34x2, ...")
        return cls(match[1], match[2] or ("" if name == "1" else "1"))


ONE_SHOT = Phase("1", "")
