"""Subnets in files that other programs can read, and the deployment card: what one needs to know to use them.

A subnet is written as it is. A subnet that was just extracted has no batch norm statistics yet:
calibrate it first.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.records.comparing import refuse_difference
from fewshot_nas.records.files import read_json, replacing, sha256, write_json
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


_ONNX = ("onnx", "onnxscript")


def check_formats(path: Path, onnx: bool) -> None:
    """Check that the files can be written, before anything is computed.

    Raises:
        InputError: the file does not end in `.pt`, `.pt2` or `.safetensors`, or a package is not installed.
    """
    if path.suffix not in (".pt", ".pt2", ".safetensors"):
        raise InputError(f"{path}: ends in {path.suffix!r}, expected .pt, .pt2 or .safetensors")
    for package in (*(["safetensors.torch"] if path.suffix == ".safetensors" else []), *(_ONNX if onnx else ())):
        _extra(package)


def write_weights(path: Path, subnet: Subnet, resolution: int, card: str = "") -> None:
    """Write the network; the file's ending chooses the format.

    - `.pt`: the state dict, which needs the class `Subnet`.
    - `.safetensors`: the same, with the card in the metadata.
    - `.pt2`: a program that torch loads without this package, with the card in an extra file.

    Args:
        resolution: side of the images that a program takes, in pixels.
        card: the deployment card, as JSON.

    Raises:
        InputError: the file cannot be written, see `check_formats`.
    """
    check_formats(path, onnx=False)
    state = {key: tensor.cpu().contiguous() for key, tensor in subnet.state_dict().items()}
    with replacing(path) as stream:
        if path.suffix == ".safetensors":
            stream.write(_extra("safetensors.torch").save(state, metadata={KEY: card}))
        elif path.suffix == ".pt2":
            torch.export.save(_program(subnet, resolution), stream, extra_files={KEY: card})
        else:
            torch.save(state, stream)


class Preprocessed(nn.Module):
    """A network that takes pixels, uint8 [B, C, R, R] in 0..255, and gives the classes' probabilities [B, classes].

    Args:
        mean, std: per channel, of pixels in 0..1.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, subnet: Subnet, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.subnet = subnet
        for name, values in (("shift", mean), ("scale", std)):
            self.register_buffer(name, torch.tensor(values).mul(255).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise the pixels as in training and evaluation, and take the network's softmax."""
        logits: Tensor = self.subnet((pixels.to(torch.float32) - self.shift) / self.scale)
        return logits.softmax(1)


def write_onnx(path: Path, network: Subnet | Preprocessed, resolution: int, card: str = "") -> None:
    """Write a network in evaluation mode as ONNX, for any batch size B.

    A subnet takes `images` [B, C, H, W] and gives `logits`; with its preprocessing it takes `pixels`,
    uint8, and gives `probabilities`.

    Args:
        resolution: H and W, in pixels.
        card: the deployment card, as JSON, for the metadata.

    Raises:
        InputError: onnx or onnxscript is not installed.
    """
    for package in _ONNX:
        _extra(package)
    raw = isinstance(network, Preprocessed)
    program = torch.onnx.export(
        network.eval(),
        (_example(network, resolution),),
        input_names=["pixels" if raw else "images"],
        output_names=["probabilities" if raw else "logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    model.metadata_props.add(key=KEY, value=card)
    with replacing(path) as stream:
        stream.write(model.SerializeToString())


def _program(subnet: Subnet, resolution: int) -> torch.export.ExportedProgram:
    example = _example(subnet, resolution)
    return torch.export.export(subnet.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def _example(network: Subnet | Preprocessed, resolution: int) -> Tensor:
    raw = isinstance(network, Preprocessed)
    subnet = network.subnet if isinstance(network, Preprocessed) else network
    channels, device = subnet.in_channels, next(subnet.parameters()).device
    images = torch.zeros(2, channels, resolution, resolution, device=device)
    return images.to(torch.uint8) if raw else images


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise InputError(f"{package} is not installed; `pip install 'fewshot-nas[export]'` installs it") from None
