"""Subnets in files that other programs can read.

A subnet is written as it is. A subnet that was just extracted has no batch norm statistics yet:
calibrate it first.
"""

import importlib
from pathlib import Path
from typing import Any

import torch

from fewshot_nas.errors import InputError
from fewshot_nas.files import replacing
from fewshot_nas.models.subnet import Subnet

_ONNX = ("onnx", "onnxscript")


def check_formats(path: Path, onnx: bool) -> None:
    """Check that the files can be written, before anything is computed.

    Raises:
        InputError: the file does not end in `.pt` or `.safetensors`, or a package is not installed.
    """
    if path.suffix not in (".pt", ".safetensors"):
        raise InputError(f"{path}: ends in {path.suffix!r}, expected .pt or .safetensors")
    for package in (*(["safetensors.torch"] if path.suffix == ".safetensors" else []), *(_ONNX if onnx else ())):
        _extra(package)


def write_weights(path: Path, subnet: Subnet) -> None:
    """Write the state dict; the file's ending, `.pt` or `.safetensors`, chooses the format.

    Raises:
        InputError: the file cannot be written, see `check_formats`.
    """
    check_formats(path, onnx=False)
    state = {key: tensor.cpu().contiguous() for key, tensor in subnet.state_dict().items()}
    if path.suffix == ".safetensors":
        safetensors = _extra("safetensors.torch")
        with replacing(path) as stream:
            stream.write(safetensors.save(state))
    else:
        with replacing(path) as stream:
            torch.save(state, stream)


def write_onnx(path: Path, subnet: Subnet, resolution: int) -> None:
    """Write the subnet, in evaluation mode, as an ONNX file that maps `images` [B, C, H, W] to `logits`, for any B.

    Args:
        resolution: H and W in pixels.

    Raises:
        InputError: onnx or onnxscript is not installed.
    """
    for package in _ONNX:
        _extra(package)
    stem = subnet.stem.conv
    images = torch.zeros(2, stem.in_channels, resolution, resolution, device=stem.weight.device)
    program = torch.onnx.export(
        subnet.eval(),
        (images,),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    with replacing(path) as stream:
        stream.write(program.model_proto.SerializeToString())


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise InputError(f"{package} is not installed; `pip install 'fewshot-nas[export]'` installs it") from None
