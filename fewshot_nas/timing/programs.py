"""The programs that are timed: a part or a whole network as a call without arguments, in torch or onnxruntime.

On a GPU, a call of a small network is as long as Python needs to launch its kernels, not as the device needs to run
them. So each program is captured in a CUDA graph, as a deployed network is, and timed between two events of the device.
"""

import operator
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule, Node, symbolic_trace

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import extra
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.models.supernet import BlockLayers, HeadLayers
from fewshot_nas.space.block import Head
from fewshot_nas.space.space import Arch, Options, Space
from fewshot_nas.timing.table import Part, Sized

Runtime = Literal["torch", "onnxruntime"]
Program = Callable[[], object]
Stopwatch = Callable[[Program], float]  # runs a program once; the seconds that it took
WARM_UP = 3  # calls before a program is captured, in which libraries choose their kernels


def by_wall(program: Program) -> float:
    """Seconds of a call, by the clock on the wall: for programs that have ended when they return."""
    start = time.perf_counter()
    program()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Programs:
    """Makes programs for networks of a space.

    Attributes:
        batch: number of images in a call.
        threads: number of onnxruntime's threads; torch's are set for the process.
    """

    space: Space
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
        if isinstance(part, Head):
            return self._program(HeadLayers(part, self.num_classes), part.inputs, self.space.sides()[-1])
        return self._program(BlockLayers(part.block, tracks=True), part.block.inputs, part.side)

    def of_arch(self, arch: Arch) -> Program:
        network = Subnet(self.space, arch, self.num_classes)
        return self._program(network, self.space.in_channels, self.space.resolution)

    def _program(self, module: nn.Module, channels: int, side: int) -> Program:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(self.batch, channels, side, side, generator=generator)
        module = module.eval()
        if self.runtime == "torch":
            return self._torch(module, images)
        onnxruntime_or_refuse(self.device)
        return partial(session_run(onnx_of(module, images.shape), self.threads), np.asarray(images))

    @property
    def stopwatch(self) -> Stopwatch:
        return by_events() if self.device.type == "cuda" else by_wall

    @cached_property
    def _pool(self) -> Any:
        """Memory for what programs compute; they run one after another, and nobody reads their outputs."""
        return torch.cuda.graph_pool_handle()

    def _torch(self, module: nn.Module, images: torch.Tensor) -> Program:
        if self.device.type == "cuda":
            # The order in memory that tensor cores compute in.
            module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            return captured(module, images.to(self.device, memory_format=torch.channels_last), self._pool)

        @torch.inference_mode()
        def call() -> None:
            module(images)

        return call


def session_run(model: bytes, threads: int) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    """A function from the input of an ONNX model to its output, by onnxruntime on the CPU."""
    runtime = onnxruntime_or_refuse(torch.device("cpu"))
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(model, options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        (found,) = session.run(None, {name: values})
        return found  # type: ignore[no-any-return]

    return run


@torch.inference_mode()
def captured(module: nn.Module, images: torch.Tensor, pool: Any) -> Program:
    """A program on a GPU that launches all kernels of a network for images [B, C, H, W] at once, as a CUDA graph."""
    stream = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(images.device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            module(images)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, stream=stream):
        module(images)

    def replay(held: object = (module, images)) -> None:  # the graph reads their memory
        graph.replay()

    return replay


def by_events() -> Stopwatch:
    """Seconds between two events of the current GPU, before and after a program."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]

    def seconds(program: Program) -> float:
        start.record()
        program()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    return seconds


def distinct_parts(space: Space, options: Options) -> list[Part]:
    """The blocks and heads of all networks with these options, each once."""
    sides, found = space.sides(), dict[Part, None]()
    for number, place in enumerate(space.places):
        for arch in space.archs_that_read(place.reads, options):
            block = space.block_at(number, arch)
            if block.main:
                found[Sized(block, sides[number])] = None
    found |= dict.fromkeys(space.head(arch) for arch in space.archs_that_read(space.head_reads, options))
    return list(found)


def described(device: torch.device, runtime: Runtime, threads: int, batch: int) -> dict[str, Any]:
    """A description of the device and its software, for a table that may be read elsewhere."""
    versions = {"torch": torch.__version__}
    if runtime == "onnxruntime":
        versions["onnxruntime"] = onnxruntime_or_refuse(device).__version__
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else _processor()
    return {
        "device": device.type,
        "name": name,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "runtime": runtime,
        "threads": threads,
        "batch": batch,
        "timed": "replay of a CUDA graph in channels-last order, by CUDA events" if on_gpu else "call, by wall clock",
        **versions,
    }


def onnxruntime_or_refuse(device: torch.device) -> Any:
    """Import onnxruntime.

    Raises:
        InputError: it is not installed, or the device is no CPU.
    """
    if device.type != "cpu":
        raise InputError(f"--runtime onnxruntime measures on the CPU, --device is {device.type}")
    return extra("onnxruntime")


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


# ---- a module as an ONNX model, written directly, because torch's exporter takes seconds for each of hundreds of parts
#
# The module is traced, so the graph follows from what it computes. Norms are folded into convolutions, as the runtime
# does with the files of `export`. A test compares both.

_OPSET, _IR = 17, 8
_PLAIN = MappingProxyType(
    {F.relu: "Relu", F.conv2d: "Conv", operator.add: "Add", "add_": "Add", operator.mul: "Mul"}  # by function or method
)


def onnx_of(module: nn.Module, shape: Sequence[int]) -> bytes:
    """The bytes of a model with the input `images` of this shape and the output `out`.

    Args:
        module: a subnet or a part of one, in evaluation mode.

    Raises:
        InputError: onnx is not installed.
    """
    graph = _Graph()
    graph.rename(graph.add(module, "images"), "out")
    return graph.bytes(shape)


class _Graph:
    def __init__(self) -> None:
        self._onnx = extra("onnx")
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def add(self, module: nn.Module, x: str) -> str:
        """Add the nodes of a module with the input `x`; returns the name of their result."""
        traced = symbolic_trace(module)
        names: dict[Node, str] = {}
        for node in traced.graph.nodes:
            if node.op == "placeholder":
                names[node] = x
            elif node.op == "get_attr":
                names[node] = self._weight(attrgetter(node.target)(traced))
            elif node.op == "call_module":
                names[node] = self._module(traced, node, names)
            elif node.op != "output":
                names[node] = self._function(node, [names[each] for each in node.all_input_nodes])
        (result,) = traced.graph.output_node().all_input_nodes
        return names[result]

    def rename(self, name: str, new: str) -> None:
        """Give the last result another name."""
        self._nodes[-1].output[0] = new
        assert name != "images"

    def bytes(self, shape: Sequence[int]) -> bytes:
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        values = helper.make_tensor_value_info("images", kind, list(shape))
        out = helper.make_tensor_value_info("out", kind, None)
        graph = helper.make_graph(self._nodes, "part", [values], [out], self._weights)
        opset = [helper.make_opsetid("", _OPSET)]
        written: bytes = helper.make_model(graph, opset_imports=opset, ir_version=_IR).SerializeToString()
        return written

    def _module(self, traced: GraphModule, node: Node, names: Mapping[Node, str]) -> str:
        module, (before,) = traced.get_submodule(str(node.target)), node.all_input_nodes
        if isinstance(module, nn.BatchNorm2d):
            conv = traced.get_submodule(str(before.target))
            assert isinstance(conv, nn.Conv2d), f"{before.target} comes before a norm"
            return self._conv(conv, module, names[before.all_input_nodes[0]])
        if isinstance(module, nn.Linear):
            weights = [self._weight(module.weight), self._weight(module.bias)]
            return self._node("Gemm", [names[before], *weights], transB=1)
        if isinstance(module, nn.ReLU):
            return self._node("Relu", [names[before]])
        assert isinstance(module, nn.Conv2d), f"{type(module).__name__} is no part of a subnet"
        return ""  # its norm follows, and both become one node

    def _conv(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, x: str) -> str:
        assert norm.running_var is not None
        assert norm.running_mean is not None
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight = conv.weight * factor[:, None, None, None]
        bias = norm.bias - norm.running_mean * factor
        sizes = {"kernel_shape": list(conv.kernel_size), "strides": list(conv.stride), "group": conv.groups}
        names = [x, self._weight(weight), self._weight(bias)]
        return self._node("Conv", names, **sizes, pads=[conv.kernel_size[0] // 2] * 4)

    def _function(self, node: Node, inputs: list[str]) -> str:
        """A function of torch's that `models.run` calls."""
        if node.target is F.max_pool2d:
            return self._node("MaxPool", inputs, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        if node.target == "mean":
            pooled = self._node("GlobalAveragePool", inputs)
            return pooled if node.kwargs.get("keepdim") else self._node("Flatten", [pooled])
        if node.target is F.silu:
            return self._node("Mul", [*inputs, self._node("Sigmoid", inputs)])
        if node.target is F.hardsigmoid:
            return self._node("HardSigmoid", inputs, alpha=1 / 6, beta=0.5)
        return self._node(_PLAIN[node.target], inputs)

    def _node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"value{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _weight(self, tensor: Tensor) -> str:
        name = f"weight{len(self._weights)}"
        array = tensor.detach().cpu().numpy()
        self._weights.append(self._onnx.numpy_helper.from_array(array, name))
        return name
