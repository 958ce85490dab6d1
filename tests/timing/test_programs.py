"""What is timed computes what the network does."""

import random

import numpy as np
import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.export import onnx_program, write_onnx
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch
from fewshot_nas.timing.programs import Programs, described, distinct_parts, onnx_of
from fewshot_nas.timing.table import Sized
from tests.kinds import ALL, GATED
from tests.rounding import assert_equal_but_for_rounding, terms

CPU = torch.device("cpu")


@pytest.fixture(
    params=[*map(SPACES.get, ("px8", "cifar", "resnet50", "channel_mobilenet_quarter", "macro_quarter")), GATED],
    ids=lambda space: space.name,
)
def network(request):
    """A subnet with statistics that are not the first ones, and images for it."""
    space = request.param
    torch.manual_seed(0)
    arch = random_arch(space, random.Random(0), space.pool_options)
    subnet = Subnet(space, arch, 5)
    images = torch.randn(2, space.in_channels, 16, 16)
    subnet.train()(images)
    return space, arch, subnet.eval(), images


@pytest.mark.numeric
def test_a_graph_computes_what_the_network_does(network):
    runtime = pytest.importorskip("onnxruntime")
    space, arch, subnet, images = network
    session = runtime.InferenceSession(onnx_of(subnet, images.shape), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = subnet(images)
    assert_equal_but_for_rounding(torch.from_numpy(found), expected, terms(space, [arch], images))


@pytest.mark.slow
@pytest.mark.last
def test_a_graph_is_what_the_runtime_makes_of_an_exported_file(network, tmp_path):
    """After its optimisation the runtime has the same operations for both, so that it takes the same time."""
    runtime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    space, _, subnet, images = network
    if space.name == "resnet50":
        pytest.skip("takes long to export")
    write_onnx(tmp_path / "exported.onnx", onnx_program(subnet, images.shape[-1]))
    (tmp_path / "ours.onnx").write_bytes(onnx_of(subnet, images.shape))
    kinds = []
    for name in ("exported", "ours"):
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(tmp_path / f"{name}_optimized.onnx")
        options.log_severity_level = 3
        runtime.InferenceSession(str(tmp_path / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
        nodes = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
        kinds.append(sorted(kind for kind in nodes if "Conv" in kind or kind in ("Relu", "Add", "MaxPool")))
    assert kinds[0] == kinds[1]


def parts_of(space, arch):
    """The blocks of an arch with the sides of their inputs, and its head."""
    sides = space.sides()
    return [*(Sized(block, sides[place]) for place, block in space.blocks(arch)), space.head(arch)]


@pytest.mark.parametrize("space", ALL, ids=lambda space: space.name)
def test_parts_are_those_of_the_space_s_networks(space):
    parts = distinct_parts(space, space.pool_options)
    assert len(parts) == len(set(parts))
    for seed in range(20):
        assert {*parts_of(space, random_arch(space, random.Random(seed), space.pool_options))} <= set(parts)
    assert space.name != "px8" or len(parts) == 449


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
@pytest.mark.parametrize("space", ALL, ids=lambda space: space.name)
def test_every_kind_of_part_can_be_called(space, runtime):
    pytest.importorskip("onnxruntime")
    programs = Programs(space, 10, runtime, CPU, 3, 1)
    arch = random_arch(space, random.Random(0), space.pool_options)
    for part in parts_of(space, arch):
        programs.of_part(part)()
    programs.empty()()
    programs.of_arch(arch)()
    if runtime == "onnxruntime":
        assert np.shape(programs.of_arch(arch)()) == (3, 10)


def test_the_device_is_described():
    found = described(CPU, "torch", 1, 8)
    assert found["name"]
    assert (found["device"], found["runtime"], found["threads"], found["batch"]) == ("cpu", "torch", 1, 8)


def test_onnxruntime_is_for_the_cpu_here():
    with pytest.raises(InputError, match="--runtime onnxruntime measures on the CPU, --device is cuda"):
        described(torch.device("cuda"), "onnxruntime", 1, 1)
