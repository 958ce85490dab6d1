"""The bound holds for any order of a sum, and a wrong number exceeds it."""

import pytest
import torch

from fewshot_nas.models.subnet import extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width
from tests.rounding import assert_equal_but_for_rounding, bound, terms

PX8 = SPACES["px8"]

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("length", [10, 1000, 100_000])
def test_orders_of_a_sum_differ_by_less(length):
    values = torch.rand(length, generator=torch.Generator().manual_seed(length))
    one_by_one = values.cumsum(0)[-1]
    assert abs(float(one_by_one) - float(values.double().sum())) <= bound(length, float(one_by_one))


@torch.no_grad()
@pytest.mark.parametrize("arch", [PX8.smallest, PX8.largest])
def test_one_wrong_weight_of_a_network_exceeds_it(arch):
    torch.manual_seed(0)
    supernet, images = Supernet(by_width(SPACES["px8"], 1), num_classes=10).double(), torch.randn(3, 1, 8, 8).double()
    subnet = extract(supernet, arch)
    subnet.blocks[0].main[0].conv.weight[0, 0, 1, 1] += 1e-3
    length = terms(supernet.space, [arch], images)
    with pytest.raises(AssertionError, match=r"the logits differs by .*, rounding explains"):
        assert_equal_but_for_rounding(subnet(images), supernet(images, arch), length, "the logits")
