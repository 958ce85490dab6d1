"""What a run depends on is written down, and nothing else."""

import pytest

from fewshot_nas.config import load_config
from fewshot_nas.manifest import manifest, processes, recipe_sha256


def digest(*overrides, size=1):
    return recipe_sha256(manifest(load_config(None, overrides), "stand_alone", processes(size)))


@pytest.mark.parametrize("override", ["data.workers=3", "data.root=elsewhere", "run.keep=7"])
def test_what_does_not_change_the_outcome_is_left_out(override):
    assert digest(override) == digest()


@pytest.mark.parametrize("override", ["data.stored_side=64", "stand_alone.lr=0.3"])
def test_what_changes_the_outcome_is_another_recipe(override):
    assert digest(override) != digest()


def test_a_setting_that_came_later_leaves_older_recipes_their_digest():
    written = manifest(load_config(None), "stand_alone", {})
    assert written["settings"]["data"]["stored_side"] is None
    assert written["settings"]["run"]["tf32"] is True


def test_several_processes_are_noted_with_what_they_share():
    assert (processes(1), processes(2)) == ({"processes": 1}, {"processes": 2, "processes_share": "batch_size"})
    assert digest(size=2) != digest()
