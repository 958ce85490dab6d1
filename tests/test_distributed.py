"""Several processes: one reduction per step, and who is who."""

import pytest
import torch
import torch.distributed as dist

from fewshot_nas.distributed import World, average_gradients, decided, gathered, joined
from fewshot_nas.errors import InputError


def test_alone_there_is_a_world_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as world:
        assert world == World(0, 1, torch.device("cpu"))
        assert world.is_main
        assert gathered(3, world) == [3]
    assert not dist.is_initialized()


def test_alone_gradients_stay_as_they_are():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    losses = torch.tensor([5.0])
    assert average_gradients([parameter], World(0, 1, torch.device("cpu")), losses) is losses
    assert parameter.grad.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("name", ["toaster", "cpu:x", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(InputError, match=f"--device is '{name}', which cannot be used here"), joined(name):
        pass


@pytest.mark.dist
def test_gradients_are_averaged_in_one_reduction(ranks):
    """Also of parameters that the step has not used, and whatever their layout is."""

    def one_of_two():
        with joined("cpu") as world:
            used, unused, laid_out = (torch.nn.Parameter(torch.zeros(2, 3, 2, 2)) for _ in range(3))
            laid_out.data = laid_out.data.to(memory_format=torch.channels_last)
            values = torch.arange(24.0).view(2, 3, 2, 2) * (1 + world.rank)
            used.grad, laid_out.grad = values.clone(), values.to(memory_format=torch.channels_last)
            calls, real = [], dist.all_reduce
            dist.all_reduce = lambda *tensors: calls.append(1) or real(*tensors)
            losses = average_gradients([used, unused, laid_out], world, torch.tensor([1.0 + world.rank]))
            equal = torch.equal(used.grad, laid_out.grad)
            kept = laid_out.grad.is_contiguous(memory_format=torch.channels_last)
            return used.grad.flatten().tolist(), equal, kept, unused.grad, losses.tolist(), len(calls)

    expected = (torch.arange(24.0) * 1.5).tolist(), True, True, None, [1.5], 1
    assert ranks(2, one_of_two) == [expected, expected]


@pytest.mark.dist
def test_values_are_gathered_in_order_of_ranks(ranks):
    def one_of_three():
        with joined("cpu") as world:
            return gathered({"rank": world.rank}, world), world.size

    assert ranks(3, one_of_three) == [([{"rank": rank} for rank in range(3)], 3)] * 3


@pytest.mark.dist
def test_rank_0_decides_and_its_error_ends_all(tmp_path, ranks):
    def one_of_two():
        with joined("cpu") as world:
            found = [decided(lambda: f"by rank {world.rank}", world)]
            try:
                decided(lambda: refuse(world.rank), world)
            except InputError as error:
                found.append(str(error))
            return found

    def refuse(rank):
        raise InputError(f"refused by rank {rank}")

    assert ranks(2, one_of_two) == [["by rank 0", "refused by rank 0"]] * 2
