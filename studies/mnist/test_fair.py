"""Fair draws use every option equally often, and are a plug-in of the training."""

from collections import Counter

import pytest

from fewshot_nas import train_supernet
from fewshot_nas.space.presets import SPACES
from studies.mnist.fair import FairArchs

PX8 = SPACES["px8"]


@pytest.mark.parametrize("cycle", [0, 1, 12])
def test_every_digit_is_used_once_in_seven_draws(cycle):
    round_ = [FairArchs(PX8, cycle, PX8.all_options).arch(7 * cycle + position) for position in range(7)]
    for number, slot in enumerate(PX8.slots):
        if slot.role == "out" or slot.name.endswith(("mid 0", "mid 1")):  # the blocks that every depth has
            assert sorted(arch[number] for arch in round_) == list(range(1, 8))
    assert sorted(arch[2] for arch in round_) == list(range(2, 9))  # depths of the third stage


def test_the_pools_digits_are_used_equally_often():
    draws = [FairArchs(PX8, 3, PX8.pool_options).arch(draw) for draw in range(105)]
    for number, (slot, options) in enumerate(zip(PX8.slots, PX8.pool_options, strict=True)):
        if slot.role == "out":
            assert set(Counter(arch[number] for arch in draws).values()) == {105 // len(options)}


@pytest.mark.golden
def test_draws_are_those_of_the_study():
    code = "1524243414743474472700000023331323000000001646000000"
    assert PX8.encode(FairArchs(PX8, 0, PX8.all_options).arch(0)) == code


def test_a_training_takes_them(workshop, small):
    assert train_supernet.main(["--save=fair", *small, "training.sampling=studies.mnist.fair:FairArchs"]) == 0
    assert (workshop / "results" / "fair" / "supernet.pth").exists()
