"""Writes a module as an ONNX model directly, because torch's exporter takes seconds for each of hundreds of parts.

The module is traced, so the graph follows from what it computes. Norms are folded into convolutions, as the runtime
does with the files of `export`. A test compares both.
"""

import operator
from collections.abc import Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule, Node, symbolic_trace

from fewshot_nas.cli.plugins import extra

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
