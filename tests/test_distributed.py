"""Several processes: one reduction per step, and who is who."""

import pytest
import torch
import torch.distributed as dist

from fewshot_nas.cli.errors import InputError
from fewshot_nas.computing import DefaultSettings, tf32
from fewshot_nas.distributed import (
    World,
    broadcast_object,
    check_equal_on_all_ranks,
    fail_together,
    gathered,
    joined,
    on_rank0,
)
from fewshot_nas.training.gradients import GradientMean


def test_alone_there_is_a_world_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as world:
        assert world == World(0, 1, torch.device("cpu"))
        assert world.is_rank0
        assert gathered(3, world) == [3]
    assert not dist.is_initialized()


def test_how_is_computed_is_the_callers_choice_again_afterwards(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    def way():
        backends = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), *backends

    threads, *others = before = way()
    with joined("cpu", DefaultSettings(threads=threads + 1, tf32=False, deterministic=True)):
        assert way() == (threads + 1, True, False, False)
    with joined("cpu", DefaultSettings()):
        assert way() == (threads, False, True, True)
    assert way() == before == (threads, *others)


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9 has the old switches only")
def test_a_notebook_may_use_torchs_new_switches_for_tf32(together):
    """torch refuses to read the old ones then, and never forgets it; so each case has a process of its own."""
    general, products, folds = torch.backends, torch.backends.cuda.matmul, torch.backends.cudnn.conv

    def way():
        return [each.fp32_precision for each in (general, products, torch.backends.cudnn, folds)]

    def notebook(switch, value):
        switch.fp32_precision = value
        before = way()
        for wanted in (False, True):
            with joined("cpu", DefaultSettings(tf32=wanted)):
                assert tf32() == products.allow_tf32 == torch.backends.cudnn.allow_tf32 == wanted
                assert products.fp32_precision == folds.fp32_precision == ("tf32" if wanted else "ieee")
            assert way() == before
        if switch is general:
            general.fp32_precision = "ieee"
            assert products.fp32_precision == "ieee"  # it still follows

    cases = [(switch, value) for switch in (general, products, folds) for value in ("tf32", "ieee")]
    together(*(lambda case=case: notebook(*case) for case in cases))


def test_more_processes_than_gpus_are_one_sentence_that_names_both(monkeypatch):
    """On all of them, before any waits for another."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("RANK=0", "WORLD_SIZE=3", "LOCAL_WORLD_SIZE=3", "MASTER_ADDR=nowhere", "MASTER_PORT=1"):
        monkeypatch.setenv(*name.split("="))
    said = r"3 processes were started on this machine, which has 2 GPUs, .* start 2 \(--nproc_per_node=2\)"
    with pytest.raises(InputError, match=said), joined("cuda"):
        pass


def test_alone_gradients_stay_as_they_are():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    losses = torch.tensor([5.0])
    assert GradientMean(World(0, 1, torch.device("cpu")))([parameter], losses) is losses
    assert parameter.grad.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("name", ["toaster", "cpu:x", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(InputError, match=f"--device is '{name}', which cannot be used here"), joined(name):
        pass


@pytest.mark.dist
def test_gradients_are_averaged_in_one_reduction_of_one_buffer(ranks):
    """Also of parameters that the step has not used, and whatever their layout is."""

    def one_of_two():
        with joined("cpu") as world:
            used, unused, laid_out = (torch.nn.Parameter(torch.zeros(2, 3, 2, 2)) for _ in range(3))
            laid_out.data = laid_out.data.to(memory_format=torch.channels_last)
            values = torch.arange(24.0).view(2, 3, 2, 2) * (1 + world.rank)
            calls, real = [], dist.all_reduce
            dist.all_reduce = lambda *tensors: calls.append(1) or real(*tensors)
            averaged, places = GradientMean(world), set()
            for _ in range(2):
                used.grad, laid_out.grad = values.clone(), values.to(memory_format=torch.channels_last)
                losses = averaged([used, unused, laid_out], torch.tensor([1.0 + world.rank]))
                places.add(used.grad.data_ptr())
            equal = torch.equal(used.grad, laid_out.grad)
            kept = laid_out.grad.is_contiguous(memory_format=torch.channels_last)
            return used.grad.flatten().tolist(), equal, kept, unused.grad, losses.tolist(), len(calls), len(places)

    expected = (torch.arange(24.0) * 1.5).tolist(), True, True, None, [1.5], 2, 1
    assert ranks(2, one_of_two) == [expected, expected]


@pytest.mark.dist
def test_values_are_gathered_in_order_of_ranks(ranks):
    def one_of_three():
        with joined("cpu") as world:
            return gathered({"rank": world.rank}, world), world.size

    assert ranks(3, one_of_three) == [([{"rank": rank} for rank in range(3)], 3)] * 3


@pytest.mark.parametrize("error", [InputError("the disk is full"), KeyError("x")])
def test_alone_an_error_stays_what_it_is(error):
    with pytest.raises(type(error)), fail_together(World.alone()):
        raise error


@pytest.mark.dist
@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_on_one_rank_reaches_all(ranks, failing):
    """An expected one in its own words, any other with its rank; and they talk to each other afterwards."""

    def one_of_three():
        said = []
        with joined("cpu") as world:
            for error in (InputError("the disk is full"), OSError("bad image")):
                try:
                    with fail_together(world):
                        if world.rank == failing:
                            raise error
                except Exception as caught:
                    said.append(f"{type(caught).__name__}: {caught}")
            return said, gathered(world.rank, world)

    known, other = "InputError: the disk is full", f"InputError: process {failing} failed (OSError: bad image)"
    expected = [([known, "OSError: bad image" if rank == failing else other], [0, 1, 2]) for rank in range(3)]
    assert ranks(3, one_of_three) == expected


@pytest.mark.dist
def test_rank_0_decides_for_all(ranks):
    def one_of_two():
        with joined("cpu") as world:
            return on_rank0(world, lambda: f"seen by {world.rank}")

    assert ranks(2, one_of_two) == ["seen by 0"] * 2


@pytest.mark.dist
def test_what_rank_0_tells_is_waited_for_in_the_patient_group(ranks, monkeypatch):
    """A rank that finds no work unit left waits for the others' last ones, which may take longer than a step."""

    def one_of_two():
        groups, real = [], dist.broadcast_object_list
        with joined("cpu") as world:
            monkeypatch.setattr(
                dist, "broadcast_object_list", lambda *told, group: groups.append(group) or real(*told, group)
            )
            told = broadcast_object(f"said by {world.rank}", world)
            return told, groups == [world.patient]

    assert ranks(2, one_of_two) == [("said by 0", True)] * 2


@pytest.mark.dist
def test_processes_that_see_different_files_end_with_one_sentence(ranks):
    def one_of_three():
        with joined("cpu") as world:
            assert check_equal_on_all_ranks({"parent": "a", "images": 5}, world) == {"parent": "a", "images": 5}
            with pytest.raises(InputError, match="process 2 sees parent new, process 0 sees old; wait until all see"):
                check_equal_on_all_ranks({"images": 5, "parent": "new" if world.rank == 2 else "old"}, world)

    ranks(3, one_of_three)
