"""The deployment card: what somebody who has only an exported network needs to know to use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.comparing import refuse_difference
from fewshot_nas.records.files import read_json, sha256, write_json
from fewshot_nas.space.block import Block
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.version import __version__

FORMAT = "fewshot_nas card 1"
KEY = "fewshot_nas.card"  # of the metadata in files


@dataclass(frozen=True)
class Provenance:
    """Everything about an exported network except its weights. Empty if we do not know its images.

    Attributes:
        preprocessing: from an image to the network's input, in order; pixels are 0..255.
        classes: names, by index; empty where they have none.
        scores: accuracies in percent, each with the images that it was measured on.
        calibration: the images that the batch norm statistics come from.
        source: the file that the network comes from, and its digest.
    """

    preprocessing: Mapping[str, Any] | None = None
    classes: Sequence[str] = ()
    scores: Sequence[Mapping[str, Any]] = ()
    calibration: Mapping[str, Any] | None = None
    source: Mapping[str, str] = field(default_factory=dict)


def deployment_card(
    space: Space, arch: Arch, num_classes: int, resolution: int, provenance: Provenance
) -> dict[str, Any]:
    """A card as JSON holds it, without the digests of the files that it goes into.

    Args:
        resolution: side of the network's input, in pixels.
    """
    cost = space.cost(arch, resolution=resolution, num_classes=num_classes)
    return {
        "format": FORMAT,
        "made_by": f"fewshot-nas {__version__}",
        "code": space.encode(arch),
        "space": space.name,
        "blocks": [_row(space.places[place].stage, block) for place, block in space.blocks(arch)],
        "macs": cost.macs,
        "parameters": cost.params,
        "input": {"shape": ["batch", space.in_channels, resolution, resolution], "dtype": "float32"},
        "preprocessing": provenance.preprocessing,
        "output": {"logits": num_classes},
        "classes": list(provenance.classes) or None,
        "scores": list(provenance.scores),
        "calibration": provenance.calibration,
        "source": dict(provenance.source),
    }


class CardFile:
    """The card beside exported files, `x.json` of `x.pt`, `x.safetensors` and `x.onnx`, all of one network.

    Args:
        out: the weights that are to be written.
        onnx: whether an ONNX file is, too.
    """

    def __init__(self, out: Path, onnx: bool) -> None:
        self.path = out.with_suffix(".json")
        replaced = {out.name, out.with_suffix(".onnx").name} if onnx else {out.name}
        self._before = read_json(self.path) if self.path.exists() else {}
        if self._before and (not isinstance(self._before, dict) or self._before.get("format") != FORMAT):
            raise InputError(f"{self.path}: is no card, but would be replaced by one; choose another --out")
        files = self._before.get("files", {})
        self._others = {name: files[name] for name in files if name not in replaced and (out.parent / name).exists()}

    def refuse_another(self, card: Mapping[str, Any]) -> None:
        """Refuse to replace the card of files that stay, if they are of another network.

        Args:
            card: as much of it as is provenance.

        Raises:
            InputError: names the first difference.
        """
        if self._others:
            own = ("format", "made_by", "files", "onnx", "source")
            now = {key: value for key, value in card.items() if key not in own}
            digest = {"source": {"sha256": card["source"].get("sha256")}}  # its path may be another one
            files = " and ".join(self._others)
            remedy = f"remove {files}, or choose another --out"
            refuse_difference(f"{self.path}: is the card of {files}, with", self._before, {**now, **digest}, remedy)

    def write(self, card: Mapping[str, Any], files: Sequence[Path]) -> None:
        """Write the card with the digests of these files, and of those of the same network that are there already."""
        onnx = {key: self._before[key] for key in ("onnx",) if key in self._before and self._others}
        digests = {**self._others, **{path.name: sha256(path) for path in files}}
        write_json(self.path, {**onnx, **card, "files": digests})


def _row(stage: int, block: Block) -> dict[str, Any]:
    """A block; the stem has stage 0, and a shortcut is `identity`, `projection` or `none`."""
    shortcut = "none" if block.shortcut is None else "projection" if block.shortcut else "identity"
    return {"stage": stage + 1, "main": [op._asdict() for op in block.main], "shortcut": shortcut, "after": block.after}
