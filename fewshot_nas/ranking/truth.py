"""Truths that predictions are judged by: networks that were trained alone, whoever trained them.

A truth is a value. `TRUTHS` has the readers of those with a name; a reader of your own is a function from a path to a
`Truth`, named by `module:name`.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import named_part
from fewshot_nas.ranking.baselines import described
from fewshot_nas.ranking.correlation import FEWEST, Floats
from fewshot_nas.records.files import here_or_shipped, read_json
from fewshot_nas.space.block import Cost
from fewshot_nas.space.cost import cost_measures
from fewshot_nas.space.pool import read_arch_file
from fewshot_nas.space.presets import SPACES, with_values
from fewshot_nas.space.space import Arch, Space

MACS = "macs"  # the count that equal cost is about


@dataclass(frozen=True)
class Truth:
    """The accuracies of n networks, all distinct, each trained alone with the same seeds.

    Attributes:
        name: of the truth, for people.
        keys: one for each network.
        runs: accuracies in percent, [n, seeds].
        counts: what a network costs, by name, [n] each; `macs` is one of them.
        described: what is known of the networks without any training, [n, columns]; the ranker without scores goes by
            these columns.
        images: the images that passed through a network in its training; 0 if that is not known.
        network: what a key stands for. Keys of the same network give the same value, which `==` compares; a key that
            is none raises an `InputError`.

    Raises:
        InputError: the parts do not fit together.
    """

    name: str
    keys: Sequence[str]
    runs: Floats
    counts: Mapping[str, Floats]
    described: Floats
    images: int = 0
    network: Callable[[str], Hashable] = field(default=lambda key: key, repr=False)

    def __post_init__(self) -> None:
        n = len(self.keys)
        shapes = [self.runs.shape[:1], self.described.shape[:1], *(each.shape for each in self.counts.values())]
        if self.runs.ndim != 2 or any(shape != (n,) for shape in shapes) or MACS not in self.counts:
            raise InputError(
                f"truth {self.name}: {n} keys, accuracies of shape {self.runs.shape}, columns of shape"
                f" {self.described.shape} and counts {', '.join(self.counts)}; expected as many of each, and macs"
            )
        if n < FEWEST:
            raise InputError(f"truth {self.name}: {n} networks, expected at least {FEWEST}")
        for what, values in (("an accuracy", self.runs), ("a column", self.described), *self.counts.items()):
            if not np.isfinite(values).all():
                raise InputError(f"truth {self.name}: {what} is not a finite number")

    @property
    def accuracy(self) -> Floats:
        """The mean over seeds, [n]."""
        return np.asarray(self.runs.mean(1), dtype=np.float64)


Reader: TypeAlias = Callable[[Path | None], Truth]


def of_space(
    name: str,
    space: Space,
    runs: Mapping[str, Sequence[float]],
    *,
    num_classes: int = 10,
    resolution: int | None = None,
    images: int = 0,
    codes: Mapping[str, str] = MappingProxyType({}),
) -> Truth:
    """The truth of some archs of a space, whose costs and shapes follow from it.

    Archs whose blocks are equal, one after the other, are the same network: it counts once, with the mean of its runs.

    Args:
        runs: accuracies in percent by code, as many for each arch.
        resolution: side of the square input in pixels; the space's own if None.
        codes: by other names that predictions may use for archs, such as `arch1`.

    Raises:
        InputError: a code is not one of the space, or archs differ in the number of seeds.
    """

    def network(key: str) -> Hashable:
        return _network(space, space.decode(codes.get(key, key)))

    seeds = len(next(iter(runs.values()), ()))
    same: dict[Hashable, list[str]] = {}
    for code in sorted(runs):
        if len(runs[code]) != seeds:
            raise InputError(f"truth {name}: {code} has {len(runs[code])} accuracies, expected {seeds} as others have")
        same.setdefault(network(code), []).append(code)
    keys = [each[0] for each in same.values()]
    archs = [space.decode(key) for key in keys]
    measures = cost_measures(space, resolution=resolution, num_classes=num_classes)
    counts = {key: np.array([each.of(space, arch) for arch in archs], dtype=float) for key, each in measures.items()}
    depths = np.array([space.depth(arch) for arch in archs], dtype=float)
    if depths.min(initial=np.inf) < depths.max(initial=0):
        counts["depth"] = depths
    table = np.array([np.mean([runs[code] for code in each], axis=0) for each in same.values()]).reshape(len(keys), -1)
    shapes = np.hstack([described(space, archs), np.log(np.stack([counts["macs"], counts["params"]], axis=1))])
    return Truth(name, keys, table, counts, shapes, images, network)


def _network(space: Space, arch: Arch) -> Hashable:
    return (*(block for _, block in space.blocks(arch)), space.head(arch))


def published(preset: str, images: int, path: Path | None) -> Truth:
    """A public table of one of our spaces as it is published: `{key: {"acc": [...], "flops": ..., "params": ...}}`.

    Raises:
        InputError: no file was named, an entry is of another form, or its costs are not those of the arch.
    """
    if path is None:
        raise InputError(
            f"--truth is {preset}, whose table is not shipped; give its file as {preset}=FILE"
            " (docs/judge.md says where to get it)"
        )
    space, content = SPACES[preset], read_json(path)
    if not isinstance(content, dict) or len(content) < FEWEST:
        raise InputError(f"{path}: expected an object with an entry for each network, at least {FEWEST}")
    measures = cost_measures(space, num_classes=10)
    runs: dict[str, list[float]] = {}
    for key, entry in content.items():
        runs[key], claimed = _entry(f"{path}: {key}", entry)
        try:
            arch = space.decode(key)
        except InputError as error:
            raise InputError(f"{path}: {error}; is it the table of {preset}?") from None
        found = Cost(*(int(measures[name].of(space, arch)) for name in Cost._fields))
        if found != claimed:
            raise InputError(f"{path}: {key} has {claimed}, but in space {preset} it has {found}")
    return of_space(f"{preset} ({path})", space, runs, images=images)


def _entry(where: str, entry: Any) -> tuple[list[float], Cost]:
    """The accuracies of a published entry, and its costs."""
    try:
        accuracies = entry["acc"] if "acc" in entry else entry["test_acc"]
        numbers, cost = [float(each) for each in accuracies], Cost(int(entry["flops"]), int(entry["params"]))
        if isinstance(accuracies, str):
            raise TypeError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: expected a list 'acc' or 'test_acc', and numbers 'flops' and 'params'") from None
    if not numbers or not all(0 <= each <= 100 for each in numbers):
        raise InputError(f"{where}: accuracies are {numbers}, expected percentages, one for each seed")
    return numbers, cost


def arch_file(space: Space, shipped: Path, path: Path | None) -> Truth:
    """A ground truth in the form of `train_stand_alone`: a mean accuracy and a code by arch id."""
    path = path or here_or_shipped(shipped)
    entries = read_arch_file(path, space)
    codes = {arch_id: space.encode(arch) for arch_id, (_, arch) in entries.items()}
    runs = {codes[arch_id]: [accuracy] for arch_id, (accuracy, _) in entries.items()}
    return of_space(str(path), space, runs, codes=codes)


_PX28 = SPACES["px28"]
TRUTHS: Mapping[str, Reader] = MappingProxyType(
    {
        "digits": partial(arch_file, SPACES["px8"], Path("json_file/digits/gt_arch30.json")),
        "fashion_mnist": partial(arch_file, _PX28, Path("json_file/fashion_mnist/gt_arch30.json")),
        "fashion_pairs": partial(
            arch_file,
            with_values(_PX28, {"base_widths": (16, 32, 64, 128)}),
            Path("json_file/fashion_pairs/gt_arch200.json"),
        ),
        "imagenet": partial(arch_file, SPACES["track1"], Path("json_file/imagenet/gt_arch30.json")),
        "channel_resnet": partial(published, "channel_resnet", 60 * 50_000),
        "channel_mobilenet": partial(published, "channel_mobilenet", 60 * 50_000),
        "macro": partial(published, "macro", 50 * 50_000),
    }
)


def reader_of(text: str) -> tuple[Reader, Path | None]:
    """What reads the truth that `text` stands for, and its file; see `open_truth`."""
    name, given, path = text.partition("=")
    if given and not path:
        raise InputError(f"--truth is {text!r}, expected NAME or NAME=FILE")
    return named_part(name, TRUTHS, "--truth"), Path(path).expanduser() if given else None


def open_truth(text: str) -> Truth:
    """The truth that `NAME`, `NAME=FILE`, or `module:name=FILE` for a reader of one's own stands for.

    Raises:
        InputError: there is no such truth, or its file cannot be used.
    """
    reader, path = reader_of(text)
    truth = reader(path)
    if not isinstance(truth, Truth):
        raise InputError(f"--truth is {text!r}, whose reader returns no Truth")
    if truth.runs.max() <= 1:
        raise InputError(f"truth {truth.name}: no accuracy is above {truth.runs.max():g}, expected percent")
    if truth.accuracy.min() == truth.accuracy.max():
        raise InputError(f"truth {truth.name}: all accuracies are {truth.runs.max():g}, so there is nothing to rank by")
    return truth
