"""The deployment card: what one needs to know to use an exported network. Without torch, because `predict` reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json, sha256, write_json
from fewshot_nas.records.journal import refuse_difference
from fewshot_nas.space.block import Block
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.version import __version__

FORMAT = "fewshot_nas card 1"
KEY = "fewshot_nas.card"  # of the metadata in files
_OF_PROGRAMS = ("pt2", "onnx", "int8", "latency", "python")  # what the card says of single files


@dataclass(frozen=True)
class Provenance:
    """Everything about an exported network except its weights. Empty if we do not know its images.

    Attributes:
        preprocessing: from an image to the network's input, in order; pixels are 0..255.
        classes: names, by index; empty where they have none.
        scores: accuracies in percent, each with the images that it was measured on.
        confidence: the temperature of probabilities, the threshold below which 5 % of the answers are, and the images
            that both are from.
        calibration: the images that the batch norm statistics come from.
        source: the file that the network comes from, and its digest.
    """

    preprocessing: Mapping[str, Any] | None = None
    classes: Sequence[str] = ()
    scores: Sequence[Mapping[str, Any]] = ()
    confidence: Mapping[str, Any] | None = None
    calibration: Mapping[str, Any] | None = None
    source: Mapping[str, str] = field(default_factory=dict)


def deployment_card(space: Space, arch: Arch, num_classes: int, provenance: Provenance) -> dict[str, Any]:
    """A card as JSON holds it, without the digests of the files that it goes into; the input's side is the space's."""
    cost = space.cost(arch, num_classes=num_classes)
    return {
        "format": FORMAT,
        "made_by": f"fewshot-nas {__version__}",
        "code": space.encode(arch),
        "space": space.name,
        "blocks": [_row(space.places[place].stage, block) for place, block in space.blocks(arch)],
        "macs": cost.macs,
        "parameters": cost.params,
        "input": {"shape": ["batch", space.in_channels, space.resolution, space.resolution], "dtype": "float32"},
        "preprocessing": provenance.preprocessing,
        "output": {"logits": num_classes},
        "classes": list(provenance.classes) or None,
        "scores": list(provenance.scores),
        "confidence": provenance.confidence,
        "calibration": provenance.calibration,
        "source": dict(provenance.source),
    }


def form(*, pixels: bool) -> dict[str, str]:
    """What a program takes and gives: pixels or the network's own input."""
    if pixels:
        return {"input": "pixels, uint8: resized and cropped, not divided or normalised", "output": "probabilities"}
    return {"input": "images, float32: after all of the preprocessing", "output": "logits"}


def python_lines(card: Mapping[str, Any], name: str) -> list[str]:
    """A program that prints the class and probability of an image by an ONNX file, with the usual packages only.

    Args:
        card: with its preprocessing and the form of the ONNX file.
        name: of the ONNX file.
    """
    how, pixels = card["preprocessing"], card["onnx"]["input"].startswith("pixels")
    side, crop, method = how["resize"]["shorter_side"], how["centre_crop"], how["resize"]["interpolation"].upper()
    classes, ground = card["output"]["logits"], tuple(how.get("background", (255, 255, 255)))
    colour, axes = ("", ".transpose(2, 0, 1)[None]") if how["colour"] == "RGB" else (".convert('L')", "[None, None]")
    run = "session.run(None, {session.get_inputs()[0].name: x})[0][0]"
    cut = f"image{colour}.resize((w, h), Image.Resampling.{method}).crop((l, t, l + {crop}, t + {crop}))"
    normal = f"x = numpy.float32((x - {_column(how['mean'])}) / ({_column(how['std'])})); y = {run}"
    heat = card["confidence"]["temperature"]
    return [
        "import io, json, pathlib, sys, numpy, onnxruntime",
        "from PIL import Image, ImageOps",
        f'session = onnxruntime.InferenceSession("{name}", providers=["CPUExecutionProvider"])',
        f"names = json.loads(session.get_modelmeta().custom_metadata_map['{KEY}'])['classes'] or range({classes})",
        "image = ImageOps.exif_transpose(Image.open(io.BytesIO(pathlib.Path(sys.argv[1]).read_bytes())))",
        "if image.mode[:4] == 'I;16': image = Image.fromarray((numpy.asarray(image) >> 8).astype('uint8'))",
        f"image = Image.alpha_composite(Image.new('RGBA', image.size, {ground}), image.convert('RGBA')).convert('RGB')",
        f"w, h = ({side} * each // min(image.size) for each in image.size)",
        f"l, t = round((w - {crop}) / 2), round((h - {crop}) / 2)",
        f"x = numpy.asarray({cut}){axes}",
        f"p = {run} ** (1 / {heat})" if pixels else f"{normal}; p = numpy.exp((y - y.max()) / {heat})",
        "print(names[p.argmax()], round(float(p.max() / p.sum()), 4))",
    ]


def _column(values: Sequence[float]) -> str:
    """The code of values for each channel of pixels 0..255."""
    return f"255 * numpy.reshape({list(values)}, (-1, 1, 1))"


class CardFile:
    """The card beside exported files, `x.json` of `x.pt`, `x.safetensors` and `x.onnx`, all of one network.

    Args:
        files: those that are to be written, the weights first.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        out, replaced = files[0], {path.name for path in files}
        self.path = out.with_suffix(".json")
        self._before = read_json(self.path) if self.path.exists() else {}
        if self._before and (not isinstance(self._before, dict) or self._before.get("format") != FORMAT):
            raise InputError(f"{self.path}: is no card, but would be replaced by one; choose another --out")
        known = self._before.get("files", {})
        self._others = {name: known[name] for name in known if name not in replaced and (out.parent / name).exists()}

    def refuse_another(self, card: Mapping[str, Any]) -> None:
        """Refuse to replace the card of files that stay, if they are of another network.

        Args:
            card: as much of it as is provenance.

        Raises:
            InputError: names the first difference.
        """
        if self._others:
            digest = {"source": {"sha256": card["source"].get("sha256")}}  # its path may be another one
            files = " and ".join(self._others)
            begun, remedy = f"{self.path}: is the card of {files}, with", f"remove {files}, or choose another --out"
            refuse_difference(begun, _common(self._before), {**_common(card), **digest}, remedy)

    def write(self, card: Mapping[str, Any], files: Sequence[Path]) -> None:
        """Write the card with the digests of these files, and of those of the same network that are there already."""
        kept = {key: self._before[key] for key in _OF_PROGRAMS if key in self._before and self._others}
        digests = {**self._others, **{path.name: sha256(path) for path in files}}
        write_json(self.path, {**kept, **card, "files": digests})


def _common(card: Mapping[str, Any]) -> dict[str, Any]:
    """What all files of a network have in common: accuracies are the same but for rounding, on the same images."""
    images = {"scores": [[each["part"], each["fingerprint"]] for each in card["scores"]]} if "scores" in card else {}
    own = ("format", "made_by", "files", "confidence", *_OF_PROGRAMS)
    return {key: value for key, value in card.items() if key not in own} | images


def _row(stage: int, block: Block) -> dict[str, Any]:
    """A block; the stem has stage 0, and a shortcut is `identity`, `projection` or `none`."""
    shortcut = "none" if block.shortcut is None else "projection" if block.shortcut else "identity"
    return {"stage": stage + 1, "main": [op._asdict() for op in block.main], "shortcut": shortcut, "after": block.after}
