"""Files of paths, `{"arch1": {"acc": 0.0, "arch": "[[0],[3],...,[0]]"}, ...}`. No torch.

The same form holds a pool (accuracy 0), a ground truth and a supernet's scores, as for the ResNet space.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import read_numbers
from fewshot_nas.cream.flops import Budget
from fewshot_nas.cream.paths import UNIFORM, CreamPath, format_path, parse_path
from fewshot_nas.space.draw import distinct
from fewshot_nas.space.pool import read_codes, write_codes

NUMBERS = "a number such as 1, a list such as 1,5,9 or a range such as 1-60"  # that an option takes


class PathEntry(NamedTuple):
    """One line of a file: accuracy in percent, and the path."""

    acc: float
    path: CreamPath


def draw_pool(budget: Budget, size: int, seed: int) -> dict[str, CreamPath]:
    """`size` distinct paths within the bounds, each as likely as any other, the same for the same seed.

    Raises:
        InputError: there are hardly so many.
    """
    rng = random.Random(seed)
    paths = distinct(lambda: budget.sample(rng, UNIFORM), size)
    if len(paths) < size:
        raise InputError(f"{size} paths are asked for, but only {len(paths)} were found within the FLOPs bounds")
    return {f"arch{number}": path for number, path in enumerate(paths, start=1)}


def write_paths(file: Path, entries: Mapping[str, PathEntry]) -> None:
    """Write entries in their order, whole or not at all."""
    write_codes(file, {arch_id: (entry.acc, format_path(entry.path)) for arch_id, entry in entries.items()})


def read_paths(file: Path) -> dict[str, PathEntry]:
    """The entries of a file, in its order.

    Raises:
        InputError: names the file, the entry and what was expected.
    """
    return {arch_id: PathEntry(*each) for arch_id, each in read_codes(file, parse_path).items()}


def select(pool: Path, option: str, text: str) -> dict[str, PathEntry]:
    """The entries of a pool whose numbers an option names.

    Raises:
        InputError: the option names none, or one that the pool does not have.
    """
    entries = read_paths(pool)
    names = [f"arch{number}" for number in read_numbers(option, text, NUMBERS, len(entries))]
    for name in names:
        if name not in entries:
            raise InputError(f"{option} names {name}, but {pool} has {len(entries)} paths")
    return {name: entries[name] for name in names}
