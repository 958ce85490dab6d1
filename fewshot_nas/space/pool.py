"""Arch files, `{"arch1": {"acc": 0.0, "arch": "<code>"}, ...}`, the pool, which is eight of them, and how it is drawn.

A part of a pool (with accuracies of 0), a ground truth and the scores of a supernet all have this form. Accuracies are
in percent. Each draw depends only on its arguments, and uses `random.Random.random()` alone, because its sequence is
the only one that Python promises to keep.
"""

import dataclasses
import hashlib
import json
import random
import re
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import command_line
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.space.presets import preset
from fewshot_nas.space.space import Arch, Options, Space, preset_of, random_arch

POOL_SIZE = 45_000
PARTS = 8
MOST = 10_000_000  # archs: a pool is written and read as a whole
T = TypeVar("T")
H = TypeVar("H", bound=Hashable)


class Entry(NamedTuple):
    """One entry of an arch file: accuracy in percent, and the arch."""

    acc: float
    arch: Arch


def id_beside(code: str) -> str:
    """The id of an arch that the pool lacks.

    >>> id_beside("1252")
    'code1252'
    """
    return f"code{code}"


def read_arch_file(path: Path, space: Space) -> dict[str, Entry]:
    """Read and check one file. The entries keep the file's order.

    Raises:
        InputError: names the file, the arch id and what was expected.
    """
    return {arch_id: Entry(*each) for arch_id, each in read_codes(path, space.decode).items()}


def read_codes(path: Path, decode: Callable[[str], T]) -> dict[str, tuple[float, T]]:
    """Accuracies, and what codes stand for, in the file's order.

    Raises:
        InputError: names the file, the arch id and what was expected.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise InputError(
            f'{path}: expected an object {{"arch1": {{"acc": 0.0, "arch": "<code>"}}, ...}} with at least one arch'
        )
    return {arch_id: _entry(f"{path}: {arch_id}", value, decode) for arch_id, value in content.items()}


def write_arch_file(path: Path, space: Space, entries: Mapping[str, Entry]) -> None:
    """Write entries in their order. The file is written whole or not at all."""
    write_codes(path, {arch_id: (acc, space.encode(arch)) for arch_id, (acc, arch) in entries.items()})


def write_codes(path: Path, entries: Mapping[str, tuple[float, str]]) -> None:
    """Write accuracies and codes in their order. The file is written whole or not at all."""
    write_json(path, {arch_id: {"acc": acc, "arch": code} for arch_id, (acc, code) in entries.items()})


def part_path(directory: Path, part: int) -> Path:
    return directory / f"part{part}.json"


def part_paths(directory: Path, space: Space) -> list[Path]:
    """The files `part1.json`, `part2.json`, ... of a pool of a space; a file is a pool of one part.

    Raises:
        InputError: there is no such file, or a number is left out.
    """
    if directory.is_file():
        return [directory]
    matches = (re.fullmatch(r"part([1-9]\d*)\.json", path.name) for path in directory.glob("part*.json"))
    numbers = sorted(int(match[1]) for match in matches if match)
    if not numbers:
        make = command_line("make_pool", *changed_settings(space), out=directory)
        raise InputError(f"{directory.absolute()}: no part1.json, expected a pool; `{make}` makes one")
    for expected, number in enumerate(numbers, start=1):
        if expected != number:
            raise InputError(f"{part_path(directory, expected)}: no such file, but there is part{number}.json")
    return [part_path(directory, number) for number in numbers]


def changed_settings(space: Space) -> list[str]:
    """The settings that make a space of its preset: `space.preset=cifar`, `space.depths=[[2,3],[2,3],[2,3]]`."""
    known = preset(preset_of(space.name))
    values, others = dataclasses.asdict(space), dataclasses.asdict(known)
    changed = {key: value for key, value in values.items() if key != "name" and value != others[key]}
    return [f"space.preset={known.name}", *(f"space.{key}={_yaml(value)}" for key, value in changed.items())]


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def pool_sha256(parts: Sequence[Mapping[str, Arch]], space: Space) -> str:
    """Digest of a pool's ids and archs, in order."""
    lines = (f"{arch_id} {space.encode(arch)}\n" for part in parts for arch_id, arch in part.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_pool(directory: Path, space: Space) -> list[dict[str, Arch]]:
    """Read `part1.json`, `part2.json`, ... of a directory.

    Raises:
        InputError: a part is missing, or an arch id or a code occurs in two parts.
    """
    paths = part_paths(directory, space)
    arch_id, (_, code) = next(iter(read_codes(paths[0], str).items()))
    try:
        space.decode(code)
    except InputError as error:
        raise InputError(f"{paths[0]}: {arch_id}: {error}; if it is another space's pool, set run.pool") from None
    parts = [{arch_id: entry.arch for arch_id, entry in read_arch_file(path, space).items()} for path in paths]
    homes: dict[str | Arch, Path] = {}
    for path, part in zip(paths, parts, strict=True):
        keys: tuple[str | Arch, ...] = (*part, *part.values())
        for key in keys:
            if key in homes:
                name = key if isinstance(key, str) else f"code {space.encode(key)}"
                raise InputError(f"{path}: {name} is also in {homes[key]}, expected each arch once")
            homes[key] = path
    return parts


def distinct(draw: Callable[[], H], count: int, known: Collection[H] = (), patience: int | None = None) -> list[H]:
    """Draw until `count` different results are found that are not known, in the order in which they came.

    There are fewer if there seem to be no others: `patience` draws in a row were repetitions, by default 1000, and 20
    for each result.
    """
    found: dict[H, None] = {}
    repeats = 0
    while len(found) < count and repeats < (patience or 1000 + 20 * len(found)):
        before, drawn = len(found), draw()
        if drawn not in known:
            found.setdefault(drawn)
        repeats = repeats + 1 if len(found) == before else 0
    return list(found)


def all_archs(space: Space, options: Options | None = None) -> Iterator[Arch]:
    """Every arch with these options, each once, in ascending order."""

    def from_slot(begun: list[int]) -> Iterator[Arch]:
        number = len(begun)
        if number == len(space.slots):
            yield tuple(begun)
            return
        when = space.slots[number].when
        here = each[number] if when is None or begun[when[0]] >= when[1] else (0,)
        for value in here:
            yield from from_slot([*begun, value])

    each = options or space.all_options
    return from_slot([])


def shuffled(rng: random.Random, options: Sequence[T]) -> list[T]:
    """The options in a random order; only `rng.random()` is called."""
    return sorted(options, key=lambda _: rng.random())


def check_draw(size: int, seed: int) -> None:
    """Refuse the size of a pool, or the seed of its draw, before anything is drawn.

    Raises:
        InputError: no archs, or more than a file should hold; a seed that stands for the same draw as another one.
    """
    if not 1 <= size <= MOST:
        raise InputError(f"--size is {size}, expected 1 to {MOST:,}")
    if seed < 0:  # Python's generator draws the same for a seed and its negative
        raise InputError(f"--seed is {seed}, expected a whole number >= 0")


def make_pool(
    space: Space, seed: int, size: int, draw: Callable[[random.Random], Arch] | None = None
) -> dict[str, Arch]:
    """Draw `size` distinct archs, named `arch1`, `arch2`, ...; the same seed gives the same pool on every machine.

    Args:
        draw: an arch; by default each choice is uniform over the pool's options, and a pool of all archs has them in
            the order of their choices.

    Raises:
        InputError: the space has fewer archs than that, or hardly more.
    """
    if size > (most := space.count(space.pool_options)):
        raise InputError(f"the pool is to have {size} archs, but space {space.name} has only {most} for a pool")
    rng = random.Random(seed)
    if size == most and draw is None:
        archs = list(all_archs(space, space.pool_options))
    else:
        archs = distinct(lambda: draw(rng) if draw else random_arch(space, rng, space.pool_options), size)
    if len(archs) < size:
        raise InputError(f"the pool is to have {size} archs, but drawing found only {len(archs)}; choose a smaller one")
    return {f"arch{number}": arch for number, arch in enumerate(archs, start=1)}


def split_pool(pool: Mapping[str, Arch], parts: int) -> list[dict[str, Arch]]:
    """Cut a pool into consecutive parts whose sizes differ by at most one."""
    items = list(pool.items())
    bounds = [len(items) * part // parts for part in range(parts + 1)]
    return [dict(items[low:high]) for low, high in pairwise(bounds)]


def _entry(where: str, value: Any, decode: Callable[[str], T]) -> tuple[float, T]:
    if not isinstance(value, dict) or value.keys() != {"acc", "arch"}:
        found = f"the keys {sorted(value)}" if isinstance(value, dict) else repr(value)
        raise InputError(f"{where}: expected an object with the keys 'acc' and 'arch', got {found}")
    acc, code = value["acc"], value["arch"]
    if type(acc) not in (int, float) or not 0 <= acc <= 100:
        raise InputError(f"{where}: acc is {acc!r}, expected a percentage from 0 to 100")
    if not isinstance(code, str):
        raise InputError(f"{where}: arch is {code!r}, expected a code in quotes")
    try:
        return float(acc), decode(code)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
