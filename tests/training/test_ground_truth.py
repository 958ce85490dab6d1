"""Gathering stand-alone runs into a ground truth."""

import json

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.running.networks import GroundTruth, StandAloneResult
from fewshot_nas.space.pool import make_pool, read_arch_file
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

POOL = make_pool(PX8, seed=1, size=12)


def result(number, seed=0, valid=50.0, test=40.0):
    return StandAloneResult(f"arch{number}", PX8.encode(POOL[f"arch{number}"]), seed, "recipe", valid, test)


@pytest.fixture
def truth(tmp_path):
    return GroundTruth(tmp_path / "gt_arch30.json")


def test_the_files_have_the_seeds_format(truth, tmp_path):
    truth.add(result(3, valid=61.5, test=60.25))
    code = PX8.encode(POOL["arch3"])
    assert json.loads((tmp_path / "gt_arch30.json").read_text()) == {"arch3": {"acc": 61.5, "arch": code}}
    assert json.loads((tmp_path / "gt_arch30_test.json").read_text()) == {"arch3": {"acc": 60.25, "arch": code}}


def test_seeds_are_averaged_and_kept(truth, tmp_path):
    for seed, valid in enumerate((50.0, 51.0, 55.0)):
        truth.add(result(1, seed, valid))
    assert read_arch_file(truth.path, PX8)["arch1"].acc == pytest.approx(52.0)
    assert sorted(path.name for path in (tmp_path / "gt_arch30.runs").glob("*.json")) == [
        f"arch1_seed{seed}.json" for seed in range(3)
    ]


def test_a_run_that_is_repeated_replaces_itself(truth):
    truth.add(result(1, valid=50.0))
    truth.add(result(1, valid=60.0))
    assert read_arch_file(truth.path, PX8)["arch1"].acc == 60.0


def test_archs_are_in_order_of_their_numbers(truth):
    for number in (10, 2, 1):
        truth.add(result(number))
    assert list(read_arch_file(truth.path, PX8)) == ["arch1", "arch2", "arch10"]


def test_it_knows_what_it_has(truth):
    truth.add(result(1, seed=4))
    assert truth.has("arch1", 4)
    assert not truth.has("arch1", 5)
    assert not truth.has("arch2", 4)


def test_processes_add_at_once_without_loss(truth, together):
    def work(seed):
        for number in range(1, 9):
            truth.add(result(number, seed, valid=50.0 + seed))

    together(*(lambda seed=seed: work(seed) for seed in range(3)))
    found = read_arch_file(truth.path, PX8)
    assert list(found) == [f"arch{number}" for number in range(1, 9)]
    assert {entry.acc for entry in found.values()} == {51.0}


def test_a_run_that_is_none_is_refused(truth):
    truth.add(result(1))
    (truth.runs / "arch2_seed0.json").write_text('{"acc": 1}')
    with pytest.raises(InputError, match=r"arch2_seed0.json: is not the result of a stand-alone training"):
        truth.add(result(3))


def test_runs_of_another_recipe_or_arch_are_kept_apart(truth):
    truth.add(result(3))
    truth.refuse_others("recipe", "arch3", PX8.encode(POOL["arch3"]))
    with pytest.raises(InputError, match=r"arch3_seed0\.json: was trained with other settings"):
        truth.refuse_others("another", "arch4", PX8.encode(POOL["arch4"]))
    with pytest.raises(InputError, match=r"arch3_seed0\.json: arch3 is .* there, expected"):
        truth.refuse_others("recipe", "arch3", PX8.encode(POOL["arch4"]))
