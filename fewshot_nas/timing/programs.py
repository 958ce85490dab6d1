"""The programs that are timed: a part or a whole network as a call without arguments, in torch or onnxruntime."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from fewshot_nas.errors import InputError
from fewshot_nas.models.layers import ConvBN, residual_block
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.block import Block
from fewshot_nas.space.cost import sizes
from fewshot_nas.space.search_space import SearchSpace
from fewshot_nas.timing.onnx_graph import onnx_of
from fewshot_nas.timing.table import Head, Part, Stem

Runtime = Literal["torch", "onnxruntime"]
Program = Callable[[], object]


class _Head(nn.Module):
    """The mean over pixels and the classifier, as `Subnet` has them."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(x.mean((2, 3)))
        return logits


@dataclass(frozen=True)
class Programs:
    """Makes programs for networks of a space.

    Attributes:
        batch: number of images in a call.
        threads: number of onnxruntime's threads; torch's are set for the process.
    """

    space: SearchSpace
    num_classes: int
    runtime: Runtime
    device: torch.device
    batch: int
    threads: int

    def empty(self) -> Program:
        """A network of one operation on one number."""
        return self._program(nn.Sequential(nn.ReLU()), 1, 1)

    def of_part(self, part: Part) -> Program:
        """A part alone, with random weights and an input of its usual shape."""
        space, maps = self.space, sizes(self.space)
        if isinstance(part, Stem):
            unit = ConvBN(space.in_channels, part.width, space.stem_kernel, space.stem_stride, tracks=True)
            pool = nn.MaxPool2d(3, 2, 1) if space.stem_pool else nn.Identity()
            return self._program(nn.Sequential(unit, nn.ReLU(inplace=True), pool), space.in_channels, space.resolution)
        if isinstance(part, Head):
            return self._program(_Head(part.width, self.num_classes), part.width, maps.stages[-1])
        block = residual_block(part, part.projects, tracks=True)
        return self._program(block, part.inputs, maps.before(part))

    def of_arch(self, arch: Arch) -> Program:
        """A whole network."""
        network = Subnet(self.space, arch, self.num_classes)
        return self._program(network, self.space.in_channels, self.space.resolution)

    def _program(self, module: nn.Module, channels: int, side: int) -> Program:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(self.batch, channels, side, side, generator=generator)
        module = module.eval()
        return self._torch(module, images) if self.runtime == "torch" else self._onnx(module, images)

    def _torch(self, module: nn.Module, images: torch.Tensor) -> Program:
        module, images = module.to(self.device), images.to(self.device)
        wait = torch.cuda.synchronize if self.device.type == "cuda" else _nothing

        @torch.inference_mode()
        def call() -> None:
            module(images)
            wait()

        return call

    def _onnx(self, module: nn.Module, images: torch.Tensor) -> Program:
        runtime = onnxruntime_or_refuse(self.device)
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        session = runtime.InferenceSession(onnx_of(module, images.shape), options, ["CPUExecutionProvider"])
        values = {"images": np.asarray(images)}
        return lambda: session.run(None, values)


def distinct_parts(space: SearchSpace, blocks: Sequence[Block]) -> list[Part]:
    """The stems, blocks and classifiers of networks of these blocks, each once."""
    kinds = dict.fromkeys(blocks)
    stems = dict.fromkeys(Stem(block.inputs) for block in kinds if block.stage == 0)
    heads = dict.fromkeys(Head(block.out) for block in kinds if block.stage == space.stages - 1)
    return [*stems, *kinds, *heads]


def described(device: torch.device, runtime: Runtime, threads: int, batch: int) -> dict[str, Any]:
    """A description of the device and its software, for a table that may be read elsewhere."""
    versions = {"torch": torch.__version__}
    if runtime == "onnxruntime":
        versions["onnxruntime"] = onnxruntime_or_refuse(device).__version__
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": device.type,
        "name": name,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "runtime": runtime,
        "threads": threads,
        "batch": batch,
        **versions,
    }


def onnxruntime_or_refuse(device: torch.device) -> Any:
    """Import onnxruntime.

    Raises:
        InputError: it is not installed, or the device is no CPU.
    """
    if device.type != "cpu":
        raise InputError(f"--runtime onnxruntime measures on the CPU, --device is {device.type}")
    try:
        import onnxruntime
    except ImportError:
        raise InputError("onnxruntime is not installed, expected it from `pip install 'fewshot-nas[export]'`") from None
    return onnxruntime


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _nothing() -> None:
    """On the CPU, a call has ended when it returns."""
