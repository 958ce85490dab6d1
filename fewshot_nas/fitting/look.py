"""A look at the images: which layout, how many of each class and size, and a split where there is none."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.files import CLASSES, PARTS, Labelled, class_directories
from fewshot_nas.data.images import Images, random_keys, spread
from fewshot_nas.data.layouts import Layout, recognised
from fewshot_nas.data.sources import ImageData
from fewshot_nas.data.tables import ALL
from fewshot_nas.records.files import replacing, write_text

UNEVEN = 3.0  # from this ratio of the largest class to the smallest on, top-1 is not enough
_NAMED = 5  # classes that a sentence lists
_MOST_COMPARED = 2_000_000_000  # bytes that are read to find copies before a split


class _Share(NamedTuple):
    """What is held out where it was not brought: a share of the images, and the most."""

    part: str
    share: float
    most: int


_TEST, _VALID = _Share("test", 0.2, 10_000), _Share("valid", 0.15, 5_000)


def as_lists(root: Path, out: Path) -> tuple[dict[str, str], list[str]]:
    """The settings that name the images in a directory, and what is to be said; a split is written as lists into `out`.

    The test images are the ones that were brought as such, or the only ones that were held out. The images to rank on
    are taken from the others, class by class, where none were brought.

    Raises:
        InputError: no layout is recognised, a class is empty, or too small to be split.
    """
    layout = recognised(root)
    if layout.source:
        return {"name": layout.source, "root": str(root)}, [f"{root}: {layout.title}", *layout.notes]
    _refuse_empty(root, layout)
    root, parts = root if root.is_dir() else root.parent, dict(layout.parts)
    said = [f"{root}: {layout.title}, {len(layout.classes)} classes", *layout.notes]
    copied = _copied(root, (parts.get(ALL) or parts["train"]).names) if len(parts) < 3 else set()
    if copied:
        said.append(f"{len(copied)} images have copies, such as {min(copied)}; none of these is held out")
    if ALL in parts:
        parts["train"], parts["test"] = _split(root, layout, parts.pop(ALL), _TEST, copied)
        said.append(f"no test images were given, so {len(parts['test'].names):,} are held out for one look at the end")
    elif "test" not in parts and "valid" in parts:
        parts["test"] = parts.pop("valid")
        said.append("the only images that are held out are the test images: networks are not chosen by them")
    elif "test" not in parts:
        parts["train"], parts["test"] = _split(root, layout, parts["train"], _TEST, copied)
        said.append(f"no test images were given, so {len(parts['test'].names):,} are held out for one look at the end")
    if "valid" not in parts:
        parts["train"], parts["valid"] = _split(root, layout, parts["train"], _VALID, copied)
        said.append(f"networks are ranked on {len(parts['valid'].names):,} images, which are not trained on")
    for part, file in PARTS.items():
        if lacking := sorted(set(range(len(layout.classes))) - set(parts[part].labels)):
            named = ", ".join(layout.classes[each] for each in lacking[:_NAMED])
            more = f" and {len(lacking) - _NAMED} others" if len(lacking) > _NAMED else ""
            said.append(f"no {part} image is of class {named}{more}")
        rows = zip(*parts[part], strict=True)
        lines = "".join(f"{(root / name).absolute()} {label}\n" for name, label in rows)
        with replacing(out / file) as stream:
            stream.write(lines.encode(errors="surrogateescape"))  # names that are no UTF-8 keep their bytes
    write_text(out / CLASSES, "".join(f"{name}\n" for name in layout.classes))
    return {"name": "parts", "root": str(out)}, said


def _refuse_empty(root: Path, layout: Layout) -> None:
    part = ALL if ALL in layout.parts else "train"
    if part not in layout.parts:
        raise InputError(f"{root}: has images of {', '.join(layout.parts)}, but none to train on")
    if len(layout.classes) == 1:
        only = root / layout.classes[0]
        inside = class_directories(only) if only.is_dir() else []
        below = f"; perhaps they are {', '.join(inside[:_NAMED])} in {only}: give --data {only}" if inside else ""
        raise InputError(f"{root}: has one class, {layout.classes[0]}, expected at least two{below}")
    there = set(layout.parts[part].labels)
    for number, name in enumerate(layout.classes):
        if number not in there:
            where = root / name if (root / name).is_dir() else root
            raise InputError(f"{where}: class {name} has no images to train on; give it some, or remove the class")


def _split(
    root: Path, layout: Layout, given: Labelled, wanted: _Share, copied: Collection[str]
) -> tuple[Labelled, Labelled]:
    """The images that stay, and those that are held out: the same share of each class, no image that has a copy."""
    labels = np.array(given.labels)
    share = min(wanted.share, wanted.most / len(labels))
    free = np.array([name not in copied for name in given.names])
    keys = random_keys(f"fit/{wanted.part}", torch.arange(len(labels))).numpy()
    out = np.zeros(len(labels), bool)
    for label in np.unique(labels).tolist():
        own = np.flatnonzero((labels == label) & free)
        count = max(1, round(share * np.count_nonzero(labels == label)))
        out[own[np.argsort(keys[own])][:count]] = True
        if not len(own) or np.count_nonzero((labels == label) & ~out) < 1:
            raise InputError(
                f"{root}: class {layout.classes[label]} has too few images, or only copies of few: some are held out to"
                " test on and to rank on; expected at least 3 different images of each class"
            )
    parts = [
        Labelled([given.names[place] for place in np.flatnonzero(mask)], labels[mask].tolist()) for mask in (~out, out)
    ]
    return parts[0], parts[1]


def _copied(root: Path, names: Sequence[str]) -> set[str]:
    """The files that have the bytes of another one; only files of equal size are read, and not more than a bound."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for name in names:
        with suppress(OSError):  # said when the image is opened
            by_size[(root / name).stat().st_size].append(name)
    found, left = set[str](), _MOST_COMPARED
    for size, alike in by_size.items():
        if len(alike) < 2 or (left := left - size * len(alike)) < 0:
            continue
        same: dict[bytes, list[str]] = defaultdict(list)
        for name in alike:
            same[hashlib.blake2b((root / name).read_bytes(), digest_size=16).digest()].append(name)
        found.update(*(copies for copies in same.values() if len(copies) > 1))
    return found


@dataclass(frozen=True)
class Seen:
    """What the rules go by.

    Attributes:
        side: the usual shorter side in pixels.
        channels: of the networks' images; files always become RGB.
        grey: whether all images that were looked at are grey, as digits and letters often are.
        uneven: how many times as many training images the largest class has as the smallest.
    """

    classes: int
    train: int
    valid: int
    test: int
    side: int
    channels: int
    grey: bool
    uneven: float


def seen(data: ImageData, brought: Images | None = None) -> tuple[Seen, list[str]]:
    """The numbers of a data set, and sentences for a person.

    Args:
        brought: to train on, where `data` repeats those of rare classes.
    """
    sides, grey = _sides(data.train)
    counts = Counter((brought or data.train).labels.tolist())
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    uneven = counts[most] / counts[least]
    found = Seen(
        classes=data.num_classes,
        train=len(data.train),
        valid=len(data.valid),
        test=len(data.test),
        side=sorted(sides)[len(sides) // 2],
        channels=len(data.mean),
        grey=grey,
        uneven=round(uneven, 2),
    )
    names = data.class_names
    frequent, rare = (f"{counts[each]:,} of {names[each]}" for each in (most, least))
    each_class = f"{rare} to {frequent}" if uneven > 1 else f"{counts[most]:,} of each class"
    size = f"{min(sides)} px" if min(sides) == max(sides) else f"{min(sides)} to {max(sides)} px, usually {found.side}"
    said = [
        f"{found.train:,} images to train on ({each_class}), {found.valid:,} to rank on, {found.test:,} to test on;"
        f" {'grey' if grey else 'colour'}, shorter sides of {size}"
    ]
    if uneven > UNEVEN:
        said.append(
            f"the largest class is {uneven:.1f} times the smallest, so balanced accuracy stands beside top-1;"
            + (" rare classes are shown more often" if brought else " data.evened=0.5 shows rare classes more often")
        )
    return found, [*said, *data.doubts]


def _sides(images: Images) -> tuple[list[int], bool]:
    """Shorter sides of some images, and whether all of them are grey."""
    sides, grey = [], True
    for place in spread(len(images)):
        pixels = images.image(place)
        sides.append(min(pixels.shape[-2:]))
        grey = grey and bool((pixels == pixels[:1]).all())
    return sides, grey
