"""What the command `predict` does: images to labels by an exported ONNX file. Without torch."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import extra
from fewshot_nas.data.files import WHITE, centre, files_below, is_image, opened
from fewshot_nas.models.card import FORMAT, KEY
from fewshot_nas.ranking.confidence import as_logits, tempered, top1
from fewshot_nas.records.files import write_csv

BROKEN = 1  # exit status: some images could not be read
_BATCH = 32


class Given(NamedTuple):
    """An image to be named, and the name of the directory that says its class."""

    path: Path
    folder: str


@dataclass(frozen=True)
class Model:
    """An ONNX file of `export` with its card.

    Attributes:
        classes: names, by index; their numbers where they have none.
    """

    session: Any
    card: dict[str, Any]
    classes: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Model":
        """Open the file.

        Raises:
            InputError: it is missing, no ONNX file, or has no card that tells how images become its input.
        """
        runtime = extra("onnxruntime")
        if not path.is_file():
            raise InputError(f"{path}: no such file; expected an ONNX file that export has written")
        try:
            session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # of the library's own kinds
            raise InputError(f"{path}: no ONNX file that can be run ({' '.join(str(error).split())})") from None
        card: Any = None
        with suppress(ValueError):
            card = json.loads(session.get_modelmeta().custom_metadata_map.get(KEY, "null"))
        if not isinstance(card, dict) or card.get("format") != FORMAT:
            raise InputError(f"{path}: holds no deployment card, expected an ONNX file that export has written")
        if not (card["preprocessing"] and card.get("confidence")):
            raise InputError(f"{path}: its card lacks preprocessing or confidence; export it anew, with --config")
        if (channels := card["input"]["shape"][1]) not in (1, 3):
            raise InputError(f"{path}: takes {channels} channels, expected 1 or 3, as image files have")
        return cls(session, card, tuple(card["classes"] or map(str, range(card["output"]["logits"]))))

    def pixels(self, path: Path) -> npt.NDArray[np.uint8]:
        """An image as the network was evaluated on it, uint8 [C, R, R].

        Raises:
            InputError: the image cannot be read; names its path.
        """
        how = self.card["preprocessing"]
        side, resize = how["centre_crop"], how["resize"]
        image = opened(path, tuple(how.get("background", WHITE))).convert("RGB" if how["colour"] == "RGB" else "L")
        cut = centre(image, resize["shorter_side"], side, resize["interpolation"])
        return np.asarray(cut).reshape(side, side, -1).transpose(2, 0, 1)

    def probabilities(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating[Any]]:
        """Probabilities [N, classes] of pixels [N, C, R, R], at the card's temperature."""
        how, given = self.card["preprocessing"], self.session.get_inputs()[0]
        values: npt.NDArray[Any] = batch
        if "float" in given.type:
            mean, std = (255 * np.array(how[name]).reshape(-1, 1, 1) for name in ("mean", "std"))
            values = ((batch - mean) / std).astype(np.float32)
        (found,) = self.session.run(None, {given.name: values})
        logits = found if "float" in given.type else as_logits(found)
        return tempered(logits, self.card["confidence"]["temperature"])


def predict(options: argparse.Namespace) -> int:
    """Print and write what the images show. Returns the exit status."""
    if options.top < 1:
        raise InputError(f"--top is {options.top}, expected at least 1")
    if options.csv and options.csv.suffix != ".csv":  # so that it replaces neither the model nor an image
        raise InputError(f"--csv is {options.csv}, expected a name that ends in .csv")
    images = _listed(options.images)
    model = Model.read(options.model)
    if options.labels:
        _refuse_other_classes(images, model)
    top, rows, right = min(options.top, len(model.classes)), list[list[str]](), list[bool]()
    for start in range(0, len(images), _BATCH):
        for image, row in _rows(model, images[start : start + _BATCH], top):
            rows.append(row)
            right.append(row[1] == image.folder)
            print("\t".join(row).rstrip())
    if options.csv:
        names = [f"{what}{number or ''}" for number in (0, *range(2, top + 1)) for what in ("label", "probability")]
        write_csv(options.csv, ["path", *names, "unsure"], rows)
    if options.labels and rows:
        value, low, high = top1(np.array(right, float))
        known = [f"{each['top1']:.2f} % on {each['images']} {each['part']} images" for each in model.card["scores"]]
        print(f"top-1 {value:.2f} % [{low:.2f}, {high:.2f}] on {len(rows)} images; the card: {', '.join(known)}")
    if len(rows) < len(images):
        print(f"{len(images) - len(rows)} of {len(images)} images could not be read", file=sys.stderr)
        return BROKEN
    return 0


def _listed(given: Sequence[Path]) -> list[Given]:
    """The images of files and directories; the class is the first directory below a given one, or a file's own."""
    found = []
    for path in given:
        if path.is_dir():
            named = ((file, file.relative_to(path).parts) for file in files_below(path) if is_image(file))
            found += [Given(file, parts[0] if parts[1:] else path.absolute().name) for file, parts in named]
        elif path.exists():
            found.append(Given(path, path.absolute().parent.name))
        else:
            raise InputError(f"{path}: no such file or directory")
    if not found:
        raise InputError(f"{', '.join(map(str, given))}: no images that can be read")
    return found


def _refuse_other_classes(images: Sequence[Given], model: Model) -> None:
    for path, folder in images:
        if folder not in model.classes:
            known = ", ".join(model.classes[:10]) + (", ..." if len(model.classes) > 10 else "")
            raise InputError(f"{path}: --labels takes {folder!r} for its class, expected one of {known}")


def _rows(model: Model, images: Sequence[Given], top: int) -> Iterator[tuple[Given, list[str]]]:
    """Each image that can be read with its path, classes and their probabilities, and whether the answer is unsure."""
    read = []
    for image in images:
        try:
            read.append((image, model.pixels(image.path)))
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
    if not read:
        return
    for (image, _), found in zip(read, model.probabilities(np.stack([pixels for _, pixels in read])), strict=True):
        best = np.argsort(-found, kind="stable")[:top]
        named = [text for place in best for text in (model.classes[place], f"{found[place]:.4f}")]
        unsure = found[best[0]] < model.card["confidence"]["threshold"]
        yield image, [str(image.path), *named, "unsure" if unsure else ""]
