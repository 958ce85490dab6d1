"""Trained networks in files: weights and statistics come back as they were, and other files are named."""

import pytest
import torch

from fewshot_nas.errors import InputError
from fewshot_nas.models.networks import Network, load_network, save_network
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.space.sampling import smallest
from fewshot_nas.space.search_space import SPACES

SPACE = SPACES["px8"]


@pytest.fixture
def saved(tmp_path):
    """A network with statistics, and its file."""
    torch.manual_seed(0)
    network = Subnet(SPACE, smallest(SPACE), 10)
    with torch.no_grad():
        network(torch.randn(16, 1, 8, 8))
    save_network(tmp_path / "network.pth", Network(SPACE, smallest(SPACE), 10, network), {"valid": 90.0})
    return network, tmp_path / "network.pth"


def test_a_network_comes_back_with_its_statistics(saved):
    network, path = saved
    found = load_network(path)
    assert (found.space, found.arch, found.num_classes, found.module.training) == (SPACE, smallest(SPACE), 10, False)
    state = found.module.state_dict()
    assert state["stem.norm.num_batches_tracked"] == 1
    assert all(torch.equal(state[key], tensor) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format is 'other', expected 'fewshot_nas network 1'"),
        ({"arch": "123"}, "network.pth: "),
        ({"space": 3}, "does not describe a network"),
        ({"num_classes": 7}, r"tensor 'head.weight' has shape \[10, 26\], expected \[7, "),
        ({"model": {}}, "tensor 'stem.conv.weight' is missing"),
    ],
)
def test_another_file_is_named(saved, change, message):
    _, path = saved
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    with pytest.raises(InputError, match=message):
        load_network(path)


def test_statistics_of_another_kind_are_refused(saved):
    _, path = saved
    content = torch.load(path, weights_only=True)
    content["model"]["stem.norm.num_batches_tracked"] = torch.tensor(1.5)
    torch.save(content, path)
    with pytest.raises(InputError, match=r"'stem.norm.num_batches_tracked' is a torch.float32, expected .* whole"):
        load_network(path)
