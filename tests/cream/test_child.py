import pytest
import torch

from fewshot_nas.cream.child import child_network
from fewshot_nas.cream.paths import MODELS
from fewshot_nas.errors import InputError

SMALL = ((0,), (1, 2), (3,), (4,), (5,))


@pytest.mark.golden
@pytest.mark.parametrize(("model", "params"), [(14, 2_673_096), (114, 4_410_120), (604, 9_695_624)])
def test_parameters_of_the_published_models(model, params):
    network = child_network(MODELS[model].path, 1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == params


def test_blocks_are_the_choices_of_the_path():
    network = child_network(SMALL, 10)
    blocks = [block for stage in network.blocks[1:-1] for block in stage]
    assert [block.conv_dw.kernel_size[0] for block in blocks] == [3, 3, 5, 5, 7, 7]
    assert [block.conv_pw.out_channels // block.conv_pw.in_channels for block in blocks] == [4, 6, 4, 6, 4, 6]
    assert [block.conv_dw.stride[0] for block in blocks] == [2, 2, 1, 2, 1, 2]


def test_squeezes_rectify_inside_and_end_in_a_hard_gate():
    squeeze = child_network(SMALL, 10).blocks[1][0].se
    assert isinstance(squeeze.act1, torch.nn.ReLU)
    assert squeeze.gate(torch.tensor([-3.0, 0.0, 3.0])).tolist() == [0.0, 0.5, 1.0]


def test_classes_and_channels_are_those_asked_for():
    assert child_network(SMALL, 7, in_channels=1)(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


def test_dropout_acts_in_training_only():
    network, images = child_network(SMALL, 7, dropout=0.5), torch.randn(4, 3, 32, 32)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


def test_what_is_no_path_is_refused():
    with pytest.raises(InputError, match="a path has 5 stages, got 4"):
        child_network(SMALL[1:], 10)
