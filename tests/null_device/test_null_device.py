"""Every command on torch's CUDA build without a GPU: no error, no waiting, no needless launch, memory as planned."""

import json
import os
import re

import pytest

from fewshot_nas.records.files import locked
from tests.null_device.__main__ import usual
from tests.null_device.build import counted, why_not
from tests.null_device.every_command import COMMANDS
from tests.null_device.work_units import CARDS_MB

pytestmark = [pytest.mark.null_device, pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]

# Of torch 2.14, and a few more for another version. The first step of a process is not counted.
MOST_LAUNCHES = {
    "train_supernet": 1620,
    "train_supernet bf16": 2020,
    "train_supernet deterministic": 1620,
    "train_supernet photographs": 1780,
    "train_supernet photographs bf16": 2100,
    "train_few_shot": 1510,
    "train_stand_alone": 366,
    "finetune": 366,
    "cream.search": 310,
    "cream.search top1 bf16": 500,
    "cream.search review": 360,
    "cream.retrain": 435,
}
WAITS = {"cream.search top1 bf16": 1}  # for the accuracy of the step before, by which the teacher is chosen


@pytest.fixture(scope="session")
def seen(tmp_path_factory):
    """What `every_command` counted; processes that test side by side run it once."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    place = place / "null_device"
    place.mkdir(exist_ok=True)
    with locked(place / "lock", wait=True):
        known = place / "counted.json"
        return json.loads(known.read_text()) if known.exists() else counted(place)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_runs(seen, name):
    assert not seen["commands"][name]["fault"], seen["commands"][name]["fault"]


@pytest.mark.parametrize("name", MOST_LAUNCHES)
def test_a_step_does_not_wait_and_launches_no_more_than_it_needs(seen, name):
    step, most = usual(seen["commands"][name]["steps"]), MOST_LAUNCHES[name]
    assert step["waits"] <= WAITS.get(name, 0), seen["commands"][name]["places"]
    assert step["pageable"] == 0
    assert 0.8 * most < step["launches"] <= most


def test_gradients_lie_in_memory_as_their_parameters(seen):
    """A fused optimizer needs it."""
    odd = {name: sum(step["odd_gradients"] for step in each["steps"]) for name, each in seen["commands"].items()}
    assert not any(odd.values()), odd


def test_each_of_two_processes_touches_its_own_device_only(seen):
    for rank, each in enumerate(seen["ranks"]):
        assert not each["fault"], each["fault"]
        assert each["touched"] == [rank]
        assert each["nccl"] >= len(each["steps"])


@pytest.mark.parametrize(("name", "left"), [("train_supernet", 2), ("cream.search", 10)])
def test_a_training_goes_on_without_waiting(seen, name, left):
    """No more than the same steps of an unbroken training: in Cream's last epoch the matching network is asked."""
    steps, unbroken = seen["resumed"][name]["second"], seen["commands"][name]["steps"]
    assert len(steps) == left
    assert sum(step["waits"] for step in steps[1:]) <= sum(step["waits"] for step in unbroken[1 - left :])


def test_a_notebooks_own_supernet_stays_in_main_memory(seen):
    assert seen["score"] == "cpu"


def test_programs_are_timed_as_graphs(seen):
    """Each of 26 networks and their parts, and nothing else, three times or more in its only round."""
    assert seen["commands"]["latency"]["graphs"] >= 3 * 26


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("card", CARDS_MB)
def test_an_evaluation_at_224_pixels_reserves_no_more_than_planned(seen, card, precision):
    memory = seen["work_units"][f"{card} {precision}"]
    assert not memory["fault"]
    assert memory["planned"] <= memory["limit"]
    assert memory["reserved"] <= min(1.12 * memory["planned"], memory["limit"])  # pieces are not all of one size


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_scoring_launches_little_more_than_the_convolutions(seen, precision):
    """A convolution, its sum and its rectifier are one kernel, and no kernel is copied."""
    unit = seen["work_units"][f"80 {precision}"]
    assert unit["scoring"] <= 38
    assert unit["calibrating"] <= (96 if precision == "fp32" else 180)


def test_the_skip_says_why(monkeypatch):
    monkeypatch.setattr("torch.version.cuda", "12.8")
    assert re.fullmatch(r"torch was built with 12.8, the null device answers CUDA 13", why_not())
