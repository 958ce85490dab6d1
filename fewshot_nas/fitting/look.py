"""A look at the images: which layout, how many of each class and size, and a split where there is none."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.files import CLASSES, PARTS, Labelled
from fewshot_nas.data.images import Images, random_keys, spread
from fewshot_nas.data.layouts import ALL, Layout, recognised
from fewshot_nas.data.sources import ImageData
from fewshot_nas.records.files import write_text

UNEVEN = 3.0  # from this ratio of the largest class to the smallest on, top-1 is not enough
_TEST, _VALID = (0.2, 10_000), (0.15, 5_000)  # share of the images, and the most
_MOST_COMPARED = 2_000_000_000  # bytes that are read to find copies before a split


def as_lists(root: Path, out: Path) -> tuple[dict[str, str], list[str]]:
    """The settings that name the images in a directory, and what is to be said; a split is written as lists into `out`.

    The test images are the ones that were brought as such, or the only ones that were held out. The images to rank on
    are taken from the others, class by class, where none were brought.

    Raises:
        InputError: no layout is recognised, a class is empty, or too small to be split.
    """
    layout = recognised(root)
    if layout.source:
        return {"name": layout.source, "root": str(root)}, [f"{root}: {layout.title}"]
    _refuse_empty(root, layout)
    root, parts = root if root.is_dir() else root.parent, dict(layout.parts)
    said = [f"{root}: {layout.title}, {len(layout.classes)} classes", *layout.notes]
    if ALL in parts:
        parts["train"], parts["test"] = _split(root, layout, parts.pop(ALL), _TEST, "test")
        said.append(f"no test images were given, so {len(parts['test'].names):,} are held out for one look at the end")
    elif "test" not in parts and "valid" in parts:
        parts["test"] = parts.pop("valid")
        said.append("the only images that are held out are the test images: networks are not chosen by them")
    elif "test" not in parts:
        parts["train"], parts["test"] = _split(root, layout, parts["train"], _TEST, "test")
        said.append(f"no test images were given, so {len(parts['test'].names):,} are held out for one look at the end")
    if "valid" not in parts:
        parts["train"], parts["valid"] = _split(root, layout, parts["train"], _VALID, "valid")
        said.append(f"networks are ranked on {len(parts['valid'].names):,} images, which are not trained on")
    for part, file in PARTS.items():
        lacking = sorted(set(range(len(layout.classes))) - set(parts[part].labels))
        said += [f"no {part} image is of class {layout.classes[label]}" for label in lacking]
        rows = zip(*parts[part], strict=True)
        lines = (f"{(root / name).absolute()} {label}\n" for name, label in rows)
        write_text(out / file, "".join(lines))
    write_text(out / CLASSES, "".join(f"{name}\n" for name in layout.classes))
    return {"name": "parts", "root": str(out)}, said


def _refuse_empty(root: Path, layout: Layout) -> None:
    part = ALL if ALL in layout.parts else "train"
    if part not in layout.parts:
        raise InputError(f"{root}: has images of {', '.join(layout.parts)}, but none to train on")
    there = set(layout.parts[part].labels)
    for number, name in enumerate(layout.classes):
        if number not in there:
            where = root / name if (root / name).is_dir() else root
            raise InputError(f"{where}: class {name} has no images to train on; give it some, or remove the class")


def _split(
    root: Path, layout: Layout, given: Labelled, wanted: tuple[float, int], what: str
) -> tuple[Labelled, Labelled]:
    """The images that stay, and those that are held out: the same share of each class, no image that has a copy."""
    labels = np.array(given.labels)
    share = min(wanted[0], wanted[1] / len(labels))
    free, keys = ~_copies(root, given.names), random_keys(f"fit/{what}", torch.arange(len(labels))).numpy()
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


def _copies(root: Path, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which files have the bytes of another one; only files of equal size are read, and not more than a bound."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        with suppress(OSError):  # said when the image is opened
            by_size[(root / name).stat().st_size].append(place)
    found, left = np.zeros(len(names), bool), _MOST_COMPARED
    for size, places in by_size.items():
        if len(places) < 2 or (left := left - size * len(places)) < 0:
            continue
        same: dict[bytes, list[int]] = defaultdict(list)
        for place in places:
            same[hashlib.blake2b((root / names[place]).read_bytes(), digest_size=16).digest()].append(place)
        for copies in same.values():
            found[copies] = len(copies) > 1
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
