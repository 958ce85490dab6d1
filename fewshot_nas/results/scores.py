"""Files of scores, an accuracy and a code for each arch, and the manifests that say how they were made.

An evaluation writes one file, a shard, for each part of the pool and each metric; `merging` merges
the shards. An evaluation decodes codes when it reads the pool, and encodes archs when it writes its
scores. From there on, up to the report, codes stay text.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json
from fewshot_nas.records.journal import differing
from fewshot_nas.results.directories import BESIDE, manifest_path, shard_path
from fewshot_nas.space.block import Cost
from fewshot_nas.space.pool import read_codes, write_codes
from fewshot_nas.space.presets import space_of
from fewshot_nas.space.space import Arch, Space

# By the value of a command's --top.
OF_TOP = MappingProxyType({"1": "top1", "5": "top5", "prob": "prob", "likelihood": "likelihood"})
METRICS = tuple(OF_TOP.values())
TITLES = MappingProxyType({"top1": "top-1", "top5": "top-5", "prob": "mean probability", "likelihood": "likelihood"})
# What commands go by unless they are told otherwise, or `leading` says: it has no ties, and ranks best (docs/study.md).
LEADING = "likelihood"
BEST_FIRST = (LEADING, *(metric for metric in METRICS if metric != LEADING))


_FEW_MISTAKES = 95.0  # percent; see docs/study_beds.md


def leading(top1: Iterable[float]) -> str:
    """The metric that ranks networks of these top-1, in percent, best.

    From a mean of 95 % on, a few mistakes decide likelihoods, so mean probability leads.

    >>> leading([94.8, 95.0]), leading([94.9, 95.1]), leading([])
    ('likelihood', 'prob', 'likelihood')
    """
    known = list(top1)
    return "prob" if known and sum(known) / len(known) >= _FEW_MISTAKES else LEADING


def top_of(metric: str) -> str:
    """The value of `--top` that means a metric.

    >>> top_of("top5")
    '5'
    """
    return next(top for top, each in OF_TOP.items() if each == metric)


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one arch from a supernet, in percent; see `evaluation.inputs.Accuracy`."""

    arch_id: str
    code: str
    top1: float
    top5: float
    prob: float
    likelihood: float

    def __post_init__(self) -> None:
        if not (0 <= self.top1 <= self.top5 <= 100 and 0 <= self.prob <= 100 and 0 <= self.likelihood <= 100):
            raise InputError(
                f"{self.arch_id}: top1 is {self.top1}, top5 is {self.top5}, prob is {self.prob} and likelihood is"
                f" {self.likelihood}, expected percentages with 0 <= top1 <= top5 <= 100"
            )


class Scored(NamedTuple):
    """One entry of an arch file, with its code as text."""

    acc: float
    code: str


def write_shards(directory: Path, part: int, scores: Sequence[Score]) -> None:
    """Write the score files of a part, each whole or not at all."""
    for metric in METRICS:
        scored = {score.arch_id: Scored(getattr(score, metric), score.code) for score in scores}
        assert len(scored) == len(scores), "an arch was scored twice"
        write_codes(shard_path(directory, metric, part), scored)


def read_scores(path: Path, space: Space) -> dict[str, Scored]:
    """Read an arch file; only codes of another length, such as those without the leading 1, are decoded.

    Raises:
        InputError: the file is malformed.
    """
    length = space.code_length

    def text(code: str) -> str:
        return code if len(code) == length else space.encode(space.decode(code))

    return {arch_id: Scored(*each) for arch_id, each in read_codes(path, text).items()}


Manifest = Mapping[str, Any]

_OWN = ("part", "archs", "beside")  # the keys that may differ from part to part


@dataclass(frozen=True)
class Network:
    """Everything but the arch that the cost of a subnet depends on."""

    space: Space
    resolution: int
    num_classes: int = 1000

    def cost(self, arch: Arch) -> Cost:
        return self.space.cost(arch, resolution=self.resolution, num_classes=self.num_classes)


def read_manifests(directory: Path, parts: Iterable[int]) -> dict[int, Manifest]:
    """The manifests of these parts, as far as they exist."""
    paths = {part: manifest_path(directory, part) for part in parts}
    return {part: read_manifest(path) for part, path in paths.items() if path.exists()}


def read_manifest(path: Path) -> Manifest:
    """Read one manifest.

    Raises:
        InputError: the file is missing or does not hold an object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f'{path}: expected an object such as {{"precision": "fp32"}}, got {content!r}')
    return content


def objections(directory: Path, manifests: Mapping[int, Manifest], parts: Iterable[int]) -> Iterator[str]:
    """The reasons not to merge these parts: manifests that are missing or differ."""
    for part in parts:
        if part not in manifests:
            yield f"{manifest_path(directory, part)}: no such file, so nobody knows how part {part} was scored"
    known = list(manifests.items())
    for part, manifest in known:
        if isinstance(manifest.get("numerics"), list):
            yield f"{manifest_path(directory, part)}: part {part} was computed with several numerics"
    alike = [(part, manifest) for part, manifest in known if isinstance(manifest.get("numerics"), dict)]
    yield from _unlike(directory, known, lambda manifest: {**manifest, "numerics": None}, "")
    yield from _unlike(directory, alike, lambda manifest: manifest["numerics"], "numerics.")


def joined_manifest(manifests: Mapping[int, Manifest], archs: int) -> dict[str, Any]:
    """The values that all parts share, the number of archs, those beside, and, under `differing`, what differs."""
    unequal = _differing(list(manifests.values()))
    first: Manifest = next(iter(manifests.values()), {})
    joined = {key: value for key, value in first.items() if key not in (*_OWN, *unequal)}
    by_part = {key: {str(part): each.get(key) for part, each in manifests.items()} for key in unequal}
    beside = {"beside": manifests[BESIDE]["beside"]} if BESIDE in manifests else {}
    return {**joined, "archs": archs, **beside, **({"differing": by_part} if by_part else {})}


def network_of(manifest: Manifest, where: Path, default: Space) -> Network:
    """The network that a manifest describes; values that it leaves out are the default's.

    Raises:
        InputError: the space, the resolution or the number of classes is malformed.
    """
    space, values = default, manifest.get("space")
    if values is not None:
        try:
            space = space_of(values)
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"{where}: space does not describe a search space ({error})") from None
    resolution, num_classes = (
        manifest.get(key, default) for key, default in (("resolution", space.resolution), ("num_classes", 1000))
    )
    for key, value in (("resolution", resolution), ("num_classes", num_classes)):
        if type(value) is not int or value < 1:
            raise InputError(f"{where}: {key} is {value!r}, expected a positive whole number")
    return Network(space, resolution, num_classes)


def trained_network(manifest: Path, default: Space) -> Network:
    """The network that a training's manifest describes, whose images tell the number of classes; see `network_of`."""
    content = read_manifest(manifest)
    return network_of({**content, **content.get("data", {})}, manifest, default)


def _differing(manifests: Sequence[Manifest]) -> list[str]:
    """The keys, of the first level, whose values are not the same in all manifests."""
    found = {key.partition(".")[0] for each in manifests for key in differing(manifests[0], each)}
    return [key for key in dict.fromkeys(key for each in manifests for key in each) if key in found and key not in _OWN]


def _unlike(
    directory: Path, parts: Sequence[tuple[int, Manifest]], seen: Callable[[Manifest], Manifest], prefix: str
) -> Iterator[str]:
    """For each part that differs from the first one, the first difference in the `seen` part of the manifests."""
    for part, manifest in parts[1:]:
        first_part, first = parts[0][0], seen(parts[0][1])
        here = seen(manifest)
        for key in _differing([first, here])[:1]:
            yield (
                f"{manifest_path(directory, part)}: {prefix}{key} is {_shown(here, key)}, but"
                f" {_shown(first, key)} in {manifest_path(directory, first_part).name}"
            )


def _shown(manifest: Manifest, key: str) -> str:
    return repr(manifest[key]) if key in manifest else "absent"
