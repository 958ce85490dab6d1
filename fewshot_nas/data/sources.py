"""Data sets by name, each in three parts: training, ranking (valid) and test images."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import named_part
from fewshot_nas.data.files import (
    CLASSES,
    LISTS,
    PARTS,
    WHITE,
    Colour,
    Labelled,
    class_directories,
    class_names,
    listed,
    read_list,
)
from fewshot_nas.data.images import (
    ArrayImages,
    FileImages,
    Images,
    Names,
    balanced_indices,
    repeated_indices,
    split_off,
    spread,
)
from fewshot_nas.data.known import CIFAR10, CIFAR100, blended_pairs, cifar100_classes, read_cifar, read_fashion_mnist

KNOWN = frozenset({"digits", "cifar10", "cifar100", "fashion_mnist", "fashion_pairs"})  # whose parts are apart
_FOLDERS_VALID = 2500
_TRAIN_PAIRS, _HELD_OUT_PAIRS = 1_000_000, 10_000
_PHOTO: Any = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}  # the usual values, of ImageNet
_PHOTO_SIDE = 64  # pixels; images at least as large as this are treated as photographs
_GARMENTS = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class ImageData:
    """A data set.

    Attributes:
        train: images to train and to calibrate networks on.
        valid: images to rank subnets on; never trained on.
        test: images for the final scores.
        mean, std: per channel, of pixels in 0..1.
        recipe: the augmentation that suits the images, see `transforms.train_transform`.
        notes: sentences that a user should read before training.
        doubts: sentences about images that make accuracies mean less, for every command.
        classes: names of the classes; empty where they have none.
    """

    name: str
    train: Images
    valid: Images
    test: Images
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    recipe: str
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def class_names(self) -> list[str]:
        """A name for each class of a network: its own, or else its number."""
        numbers = map(str, range(self.num_classes))
        return [*self.classes, *list(numbers)[len(self.classes) :]]

    def reading(self) -> dict[str, Any]:
        """How files become pixels, as a deployment card says it; empty for images in memory."""
        return self.valid.described() if isinstance(self.valid, FileImages) else {}

    def on(self, background: Colour) -> "ImageData":
        """The data set, where transparent pixels of image files have this colour."""
        known: dict[int, FileImages] = {}

        def shown(images: Images) -> Images:
            if not isinstance(images, FileImages) or images.background == background:
                return images
            return known.setdefault(id(images), images.on(background))

        return replace(self, train=shown(self.train), valid=shown(self.valid), test=shown(self.test))

    def lists(self) -> list[FileImages]:
        """The lists of files from which the three parts were selected, each list once."""
        parts = [images for images in (self.train, self.valid, self.test) if isinstance(images, FileImages)]
        whole = [part.part_of[0] if part.part_of else part for part in parts]
        return list({id(images): images for images in whole}.values())


def open_data(
    name: str,
    root: Path,
    *,
    train_images: int | None = None,
    valid_images: int | None = None,
    num_classes: int | None = None,
    background: Colour = WHITE,
    evened: float = 0.0,
) -> ImageData:
    """Open a data set.

    The three numbers are the training, ranking and test images.

    - `digits`: scikit-learn's 8x8 digits, 1,197 / 300 / 300; needs no `root`.
    - `fashion_mnist`: 50,000 / 10,000 held out from training / 10,000; `cifar10`, `cifar100`: 40,000 / 10,000 / 10,000.
    - `fashion_pairs`: blends of two garments of different classes, 1,000,000 / 10,000 / 10,000, made from the three
      parts of `fashion_mnist`, so that no two parts share a garment.
    - `lists` of the competition's names; `parts`, lists as `fit` writes them; `folders`; `module:name`: docs/spaces.md.

    As in the competition, the ranking images of `lists` are some of the test images. The same holds
    for `folders` without `test`. Images of `lists` are augmented as photographs, and those of
    `folders` and `parts` as photographs or as small images, depending on their usual size.

    Args:
        train_images, valid_images: use only so many images, a fixed choice with balanced classes.
        num_classes: of the network, if it needs more classes than the labels show.
        background: of transparent pixels of image files.
        evened: how often training images of rare classes are repeated, see `repeated_indices`; 0: never.

    Raises:
        InputError: unknown name, missing or malformed data, or fewer images than asked for.
    """
    data = named_part(name, SOURCES, "data.name")(root)
    if name not in SOURCES:
        _refuse_misfits(name, data)
    # Files hold the name, by which the data set is found again.
    data = replace(data, name=name).on(background)
    _refuse_gaps(data, num_classes)
    if num_classes is not None and num_classes < data.num_classes:
        raise InputError(f"{data.name}: num_classes is {num_classes}, but the labels need {data.num_classes}")
    if valid_images is None and name == "folders":
        valid_images = min(_FOLDERS_VALID, len(data.valid))
    train = fixed_part(f"{name}: train_images", data.train, train_images)
    if len(there := torch.unique(train.labels).tolist()) < 2:
        raise InputError(
            f"{name}: all {len(train)} training images are of class {there[0]}, so there is nothing to tell apart;"
            " expected images of at least two classes"
        )
    if evened:
        train = train.select(repeated_indices(train.labels, evened))
    return replace(
        data,
        train=train,
        valid=fixed_part(f"{name}: valid_images", data.valid, valid_images),
        num_classes=num_classes or data.num_classes,
    )


def fixed_part(where: str, images: Images, count: int | None) -> Images:
    """A fixed choice of `count` images with balanced classes; all images if None.

    Args:
        where: the name of the count, for the message.

    Raises:
        InputError: there are fewer images.
    """
    if count is None:
        return images
    if not 1 <= count <= len(images):
        raise InputError(f"{where} is {count}, expected 1..{len(images)}")
    return images if count == len(images) else images.select(balanced_indices(images.labels, count))


def _digits(root: Path) -> ImageData:
    from sklearn.datasets import load_digits  # takes a second, which other data sets need not wait for

    pixels, labels = load_digits(return_X_y=True)
    array = torch.from_numpy(pixels).mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
    train, held_out = split_off(ArrayImages(array, torch.from_numpy(labels).long()), 600)
    test, valid = split_off(held_out, 300)
    return ImageData("digits", train, valid, test, 10, (0.3053,), (0.3759,), "shift", classes=tuple("0123456789"))


def _cifar10(root: Path) -> ImageData:
    everything, test = read_cifar(CIFAR10, root)
    train, valid = split_off(everything, len(everything) // 5)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    return ImageData("cifar10", train, valid, test, 10, mean, std, "shift_flip", classes=_OBJECTS)


def _cifar100(root: Path) -> ImageData:
    everything, test = read_cifar(CIFAR100, root)
    train, valid = split_off(everything, len(everything) // 5)
    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    return ImageData("cifar100", train, valid, test, 100, mean, std, "shift_flip", classes=cifar100_classes(root))


def _fashion_mnist(root: Path) -> ImageData:
    return ImageData("fashion_mnist", *_garments(root), 10, (0.2860,), (0.3530,), "shift_flip", classes=_GARMENTS)


def _fashion_pairs(root: Path) -> ImageData:
    counts = {"train": _TRAIN_PAIRS, "valid": _HELD_OUT_PAIRS, "test": _HELD_OUT_PAIRS}
    named = zip(_garments(root), counts.items(), strict=True)
    train, valid, test = (blended_pairs(images, count, f"pairs/{part}") for images, (part, count) in named)
    pairs = tuple(" and ".join(pair) for pair in combinations(_GARMENTS, 2))
    return ImageData("fashion_pairs", train, valid, test, 45, (0.2873,), (0.2822,), "none", classes=pairs)


def _garments(root: Path) -> tuple[ArrayImages, ArrayImages, ArrayImages]:
    """Training, held-out training and test images."""
    everything, test = read_fashion_mnist(root)
    return *split_off(everything, 10_000), test


def _by_lists(name: str, files: Mapping[str, str], root: Path) -> ImageData:
    parts = {part: _images_of(root, read_list(root / file), root / file) for part, file in files.items()}
    classes = class_names(root / CLASSES)
    num_classes = max(len(classes), 1 + max(int(images.labels.max()) for images in parts.values()))
    if classes and len(classes) < num_classes:
        raise InputError(f"{root / CLASSES}: has {len(classes)} names, but the labels go up to {num_classes - 1}")
    # `lists` have the competition's form, so their images count as photographs, whatever their size.
    recipe, note = ("photo", "") if name == "lists" else _recipe_for(name, parts["train"])
    unseen = _unseen(root / files["valid"], parts["valid"], classes or list(map(str, range(num_classes))))
    train, valid, test = parts.values()
    return ImageData(
        name,
        train,
        valid,
        test,
        num_classes,
        **_PHOTO,
        recipe=recipe,
        notes=(*filter(None, [note]), *unseen),
        classes=classes,
    )


def _folders(root: Path) -> ImageData:
    classes = class_directories(root / "train")
    parts = ["val", "test"] if (root / "test").is_dir() else ["val"]
    for part in parts:
        unknown = sorted(set(class_directories(root / part)) - set(classes))
        if unknown:
            raise InputError(f"{root / part / unknown[0]}: no such class in {root / 'train'}")
    found = {part: listed(root, part, classes) for part in ("train", *parts)}
    train, val, *test = (_images_of(root, files, root / part) for part, (files, _) in found.items())
    recipe, note = _recipe_for("folders", train)
    said = (*(said for _, said in found.values()), note)
    no_test = (
        f"{root / 'test'} is not there, so the images of val are both ranked on and tested on;"
        " test accuracies are those of the choice itself"
    )
    notes = (*said, *_unseen(root / "val", val, classes), *([] if test else [no_test]))
    parts_there = train, val, (test or [val])[0]
    return ImageData(
        "folders", *parts_there, len(classes), **_PHOTO, recipe=recipe, notes=notes, classes=tuple(classes)
    )


def _images_of(root: Path, files: Labelled, origin: Path) -> FileImages:
    """Image files, which cannot be none."""
    if not files.names:
        raise InputError(f"{origin}: no images")
    return FileImages(root, Names.of(files.names), torch.tensor(files.labels))


def _unseen(where: Path, images: Images, classes: Sequence[str]) -> list[str]:
    """A sentence about the classes that have no ranking images, if there are any."""
    missing = [classes[label] for label in sorted(set(range(len(classes))) - set(images.labels.tolist()))]
    if not missing:
        return []
    more = "" if len(missing) == 1 else f" and {len(missing) - 1} more"
    return [f"{where}: no images of class {missing[0]}{more}, so the ranking does not consider them"]


def _recipe_for(name: str, images: FileImages) -> tuple[str, str]:
    """The augmentation that suits the images, by the median shorter side of some; and a sentence about it."""
    sides = []
    for place in spread(len(images)):
        with suppress(InputError):  # the error is reported when the image is used
            sides.append(min(images.picture(place).size))
    side = sorted(sides)[len(sides) // 2] if sides else None
    recipe = "photo" if side is None or side >= _PHOTO_SIDE else "shift"
    kind = {"photo": "rotated, cropped, mirrored and jittered as photographs", "shift": "shifted as small images"}
    why = "no size is known" if side is None else f"their shorter side is {side} pixels"
    return recipe, f"{name}: training images are {kind[recipe]}, because {why}; data.augmentation replaces this"


def _refuse_misfits(name: str, data: Any) -> None:
    """Refuse a data set of one's own whose parts do not fit together."""
    if not isinstance(data, ImageData):
        raise InputError(f"data.name is {name!r}, which returns a {type(data).__name__}, expected an ImageData")
    if len(data.mean) != len(data.std) or min(data.std, default=0) <= 0:
        raise InputError(
            f"{name}: mean is {data.mean} and std is {data.std}, expected numbers for each channel, std > 0"
        )
    for part in ("train", "valid", "test"):
        images = getattr(data, part)
        if not len(images):
            raise InputError(f"{name}: {part} has no images")
        if (channels := len(images.image(0))) != len(data.mean):
            raise InputError(
                f"{name}: images of {part} have {channels} channels, but mean has {len(data.mean)} numbers"
            )
        if not 0 <= int(images.labels.min()) <= int(images.labels.max()) < data.num_classes:
            raise InputError(f"{name}: {part} has labels other than 0 to {data.num_classes - 1}, one for each class")


def _refuse_gaps(data: ImageData, num_classes: int | None) -> None:
    """Refuse a gap in the training images' labels, unless the settings give the number of classes."""
    there = set(torch.unique(data.train.labels).tolist())
    missing = sorted(set(range(data.num_classes)) - there)
    if missing and num_classes is None:
        raise InputError(
            f"{data.name}: no training image has label {missing[0]}, but labels go up to {data.num_classes - 1};"
            f" number the classes 0, 1, 2, ..., or set data.num_classes={data.num_classes} if this is meant"
        )


SOURCES: Mapping[str, Callable[[Path], ImageData]] = MappingProxyType(
    {
        "digits": _digits,
        "cifar10": _cifar10,
        "cifar100": _cifar100,
        "fashion_mnist": _fashion_mnist,
        "fashion_pairs": _fashion_pairs,
        "lists": partial(_by_lists, "lists", LISTS),
        "parts": partial(_by_lists, "parts", PARTS),
        "folders": _folders,
    }
)
