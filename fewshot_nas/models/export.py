"""Subnets in files that other programs can read.

A subnet is written as it is. A subnet that was just extracted has no batch norm statistics yet:
calibrate it first.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import extra
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
    packages = ["safetensors.torch"] * (path.suffix == ".safetensors") + [*_ONNX] * onnx + ["onnxruntime"] * onnx
    for package in packages:
        extra(package)


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


def write_weights(path: Path, network: Subnet | Preprocessed, resolution: int, card: str = "") -> None:
    """Write the network; the file's ending chooses the format. Only a program may have preprocessing.

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
    state = {key: tensor.cpu().contiguous() for key, tensor in network.state_dict().items()}
    with replacing(path) as stream:
        if path.suffix == ".safetensors":
            stream.write(extra("safetensors.torch").save(state, metadata={KEY: card}))
        elif path.suffix == ".pt2":
            torch.export.save(_program(network, resolution), stream, extra_files={KEY: card})
        else:
            torch.save(state, stream)


def onnx_program(network: Subnet | Preprocessed, resolution: int) -> bytes:
    """A network in evaluation mode as an ONNX model, for any batch size B.

    A subnet takes `images` [B, C, H, W] and gives `logits`; with its preprocessing it takes `pixels`,
    uint8, and gives `probabilities`.

    Args:
        resolution: H and W, in pixels.

    Raises:
        InputError: onnx or onnxscript is not installed.
    """
    for package in _ONNX:
        extra(package)
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
    model: bytes = program.model_proto.SerializeToString()
    return model


def write_onnx(path: Path, model: bytes, card: str = "") -> None:
    """Write an ONNX model with the deployment card, as JSON, in its metadata."""
    content = extra("onnx").load_model_from_string(model)
    content.metadata_props.add(key=KEY, value=card)
    with replacing(path) as stream:
        stream.write(content.SerializeToString())


def int8_program(model: bytes, batches: Iterable[npt.NDArray[Any]]) -> bytes:
    """An ONNX model that computes with 8 bit integers: weights scaled by channel, activations by calibration images.

    The operations keep their places and take their inputs from pairs of Quantize and Dequantize, which runtimes fuse.
    A softmax stays as it is.

    Args:
        model: of `onnx_program`.
        batches: inputs of the model, of training images.

    Raises:
        InputError: onnx or onnxruntime is not installed.
    """
    extra("onnx")
    quantization, shapes = (extra(f"onnxruntime.quantization{name}") for name in ("", ".shape_inference"))
    with TemporaryDirectory() as place:
        given, ready, out = (Path(place) / f"{name}.onnx" for name in ("given", "ready", "out"))
        given.write_bytes(model)
        shapes.quant_pre_process(given, ready, skip_symbolic_shape=True)  # folds norms into convolutions
        quantization.quantize_static(
            ready,
            out,
            _reader(quantization, model, batches),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=_QUANTIZED,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            reduce_range=True,  # 7 bits of weights, so that sums of two products saturate on no processor
        )
        return out.read_bytes()


_QUANTIZED = ["Conv", "Relu", "Clip", "Add", "Mul", "Gemm", "MatMul", "GlobalAveragePool", "MaxPool"]


def _reader(quantization: Any, model: bytes, batches: Iterable[npt.NDArray[Any]]) -> Any:
    """What the library asks for inputs until there are no more."""
    name, left = extra("onnx").load_model_from_string(model).graph.input[0].name, iter(batches)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
            batch = next(left, None)
            return None if batch is None else {name: batch}

    return Reader()


def _program(network: Subnet | Preprocessed, resolution: int) -> torch.export.ExportedProgram:
    example = _example(network, resolution)
    return torch.export.export(network.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def _example(network: Subnet | Preprocessed, resolution: int) -> Tensor:
    raw = isinstance(network, Preprocessed)
    subnet = network.subnet if isinstance(network, Preprocessed) else network
    channels, device = subnet.in_channels, next(subnet.parameters()).device
    images = torch.zeros(2, channels, resolution, resolution, device=device)
    return images.to(torch.uint8) if raw else images
