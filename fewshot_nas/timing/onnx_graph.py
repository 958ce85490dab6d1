"""Writes a module as an ONNX model directly, because torch's exporter takes seconds for each of hundreds of parts.

Norms are folded into convolutions, as the runtime does with the files of `export`. A test compares both.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fewshot_nas.errors import InputError
from fewshot_nas.models.layers import ConvBN, ResidualBlock
from fewshot_nas.models.subnet import Subnet

_OPSET, _IR = 17, 8


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
        try:
            import onnx
        except ImportError:
            raise InputError("onnx is not installed, expected it from `pip install 'fewshot-nas[export]'`") from None
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def add(self, module: nn.Module, x: str) -> str:
        """Add the nodes of a module with the input `x`; returns the name of their result."""
        if isinstance(module, ConvBN):
            return self._conv(module, x)
        if isinstance(module, ResidualBlock):
            return self._block(module, x)
        if isinstance(module, Subnet):
            x = self._chain([module.stem, module.relu, module.pool, *module.blocks], x)
            return self._head(module.head, x)
        if isinstance(module, nn.Sequential):
            return self._chain(module, x)
        if isinstance(module, nn.ReLU):
            return self._node("Relu", [x])
        if isinstance(module, nn.MaxPool2d):
            return self._node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        if isinstance(module, nn.Identity):
            return x
        head = module.head
        assert isinstance(head, nn.Linear), f"{type(module).__name__} is no part of a subnet"
        return self._head(head, x)

    def rename(self, name: str, new: str) -> None:
        """Give the last result another name."""
        self._nodes[-1].output[0] = new
        assert name != "images"

    def bytes(self, shape: Sequence[int]) -> bytes:
        """The whole model."""
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        values = helper.make_tensor_value_info("images", kind, list(shape))
        out = helper.make_tensor_value_info("out", kind, None)
        graph = helper.make_graph(self._nodes, "part", [values], [out], self._weights)
        opset = [helper.make_opsetid("", _OPSET)]
        written: bytes = helper.make_model(graph, opset_imports=opset, ir_version=_IR).SerializeToString()
        return written

    def _chain(self, modules: Any, x: str) -> str:
        for module in modules:
            x = self.add(module, x)
        return x

    def _conv(self, unit: ConvBN, x: str) -> str:
        norm = unit.norm
        assert norm.running_var is not None
        assert norm.running_mean is not None
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight = unit.conv.weight * factor[:, None, None, None]
        bias = norm.bias - norm.running_mean * factor
        kernel, stride, pad = unit.conv.kernel_size, unit.conv.stride, unit.conv.kernel_size[0] // 2
        names = [x, self._weight(weight), self._weight(bias)]
        return self._node("Conv", names, kernel_shape=list(kernel), strides=list(stride), pads=[pad] * 4)

    def _block(self, block: ResidualBlock, x: str) -> str:
        convs, value = block.convs(), x
        for conv in convs:
            value = self._conv(conv, value)
            if conv is not convs[-1]:
                value = self._node("Relu", [value])
        return self._node("Relu", [self._node("Add", [value, self.add(block.shortcut, x)])])

    def _head(self, head: nn.Linear, x: str) -> str:
        flat = self._node("Flatten", [self._node("GlobalAveragePool", [x])])
        return self._node("Gemm", [flat, self._weight(head.weight), self._weight(head.bias)], transB=1)

    def _node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"value{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _weight(self, tensor: Tensor) -> str:
        name = f"weight{len(self._weights)}"
        array = tensor.detach().cpu().numpy()
        self._weights.append(self._onnx.numpy_helper.from_array(array, name))
        return name
