"""Subnets in files that other programs can read.

A subnet is written as it is. A subnet that was just extracted has no batch norm statistics yet:
calibrate it first.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.card import KEY
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.records.files import replacing

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
