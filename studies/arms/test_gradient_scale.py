"""How often each weight is trained, and gradients scaled by the inverse of it."""

import dataclasses

import pytest
import torch

from fewshot_nas.models.supernet import part
from fewshot_nas.training.draws import OutsEnds, RandomArchs, Sampler
from studies.arms.gradient_scale import chances, gradient_scale, trained_counts
from tests.training.conftest import TINY

# Fewer digits, so that the mean over steps comes near.
DIGITS, STEPS = (3, 2, 3, 2), 400
OPTIONS = dataclasses.replace(TINY, pool_digits=DIGITS).pool_options
LIKELY = chances(TINY, OPTIONS, 2)


@pytest.mark.slow
def test_counts_are_what_many_steps_have_on_average(supernet):
    network, sampler = supernet(), Sampler(RandomArchs(TINY, 0, OPTIONS), OutsEnds(TINY, 0, OPTIONS), 2)
    counts = {parameter: torch.zeros(parameter.shape[:2]) for parameter in network.parameters()}

    def note(parameter, *sizes):
        part(counts[parameter], *sizes[: counts[parameter].dim()]).add_(1)
        return part(parameter, *sizes)

    for step in range(STEPS):
        for arch in sampler.archs(step):
            network.tensors(arch, note)
    found = trained_counts(network, LIKELY)
    for name, parameter in network.named_parameters():
        # Of 4 archs a step, each trains a weight or not: the mean's deviation is at most 1 / sqrt(steps).
        expected = counts[parameter] / STEPS
        torch.testing.assert_close(found[parameter].float(), expected, rtol=0, atol=5 / STEPS**0.5, msg=name)


@pytest.mark.parametrize("groups", [1, 3])
def test_channels_of_a_parameter_move_equally_far_in_a_mean_step(supernet, groups):
    """Count times factor is the same wherever something is trained, and its mean is the mean count."""
    network = supernet(groups)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    counts = trained_counts(network, LIKELY)
    gradient_scale(network, LIKELY, "channel")()
    for parameter in network.parameters():
        count, factor = counts[parameter].float(), parameter.grad
        factor = factor.flatten(2)[..., 0] if factor.dim() > 2 else factor
        reached = count > 0
        torch.testing.assert_close((count * factor)[reached], count[reached].mean().expand(int(reached.sum())))
        assert (factor[~reached] == 1).all()
