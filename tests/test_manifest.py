"""What a run depends on is written down, and nothing else."""

import dataclasses
from typing import get_type_hints

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.settings import compared, is_free
from fewshot_nas.config import Config, load_config
from fewshot_nas.cream.config import CheckpointConfig, RetrainConfig, SearchConfig
from fewshot_nas.distributed import World
from fewshot_nas.records.journal import flat, refuse_difference
from fewshot_nas.running.manifest import manifest, recipe_sha256

# A change of this list is a decision: a run goes on with another value of these settings.
FREE = {
    "stand_alone.start",
    "training.start",
    *("data.root", "data.cache", "data.workers"),
    *("evaluation.batch_size", "evaluation.memory_mb"),
    *("run.checkpoint_steps", "run.keep", "run.silence_s", "run.ground_truth", "run.pool"),
}


def digest(*overrides, size=1):
    config = load_config(None, overrides)
    world = World(0, size, torch.device("cpu"), sync_norms=config.run.sync_norms)
    return recipe_sha256(manifest(config, config.stand_alone, world.facts))


def leaves(kind, prefix=""):
    for key, hint in get_type_hints(kind, include_extras=True).items():
        if dataclasses.is_dataclass(hint):
            yield from leaves(hint, f"{prefix}{key}.")
        else:
            yield prefix + key, hint


@pytest.mark.parametrize("kind", [Config, SearchConfig, RetrainConfig, CheckpointConfig])
def test_each_setting_is_free_or_compared(kind):
    known = dict(leaves(kind))
    free = {key for key, hint in known.items() if is_free(hint)}
    assert free == FREE & known.keys()
    assert dict(flat(compared(kind()))).keys() == known.keys() - free


@pytest.mark.parametrize("override", ["data.workers=3", "data.root=elsewhere", "run.keep=7", "training.lr=0.3"])
def test_what_does_not_change_the_outcome_is_left_out(override):
    assert digest(override) == digest()


@pytest.mark.parametrize(
    "override", ["data.stored_side=64", "stand_alone.lr=0.3", "space.resolution=9", "run.tf32=false"]
)
def test_what_changes_the_outcome_is_another_recipe(override):
    assert digest(override) != digest()


def test_another_number_of_processes_is_another_recipe_only_if_each_has_norms_of_its_own():
    assert digest(size=2) == digest()
    assert digest("run.sync_norms=false", size=2) != digest("run.sync_norms=false")


def test_a_setting_that_is_a_fact_too_is_said_once():
    begun, now = ({"settings": {"data": {"n": given}}, "data": {"n": found}} for given, found in ((None, 3), (7, 7)))
    with pytest.raises(InputError, match=r"^run was begun with data\.n 3 \(now 7\); stop$"):
        refuse_difference("run was begun with", begun, now, "stop")
