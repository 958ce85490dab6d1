"""How often each weight is trained, and gradients scaled by the inverse of it."""

import pytest
import torch

from fewshot_nas.models.slicing import leading
from fewshot_nas.training.gradient_scale import gradient_scale, trained_counts
from fewshot_nas.training.sampler import FairArchs, OutsEnds, RandomArchs, Sampler, SpaceEnds
from tests.training.conftest import TINY

DIGITS = (3, 2, 3, 2)
STEPS = 4000


def sampler(drawn=RandomArchs, extremes=OutsEnds, middle=2):
    return Sampler(drawn(TINY, 0, DIGITS), extremes(TINY, 0, DIGITS), middle)


def counted(network, archs):
    """How often the archs contain each weight, one after the other."""
    counts = {parameter: torch.zeros(parameter.shape[:2]) for parameter in network.parameters()}

    def note(parameter, *sizes):
        leading(counts[parameter], *sizes).add_(1)
        return leading(parameter, *sizes)

    for arch in archs:
        network.weights(arch, note)
    return counts


@pytest.mark.parametrize(("extremes", "groups"), [(SpaceEnds, 2), (OutsEnds, 1)])
def test_counts_are_what_many_steps_have_on_average(supernet, extremes, groups):
    network, drawn = supernet(groups), sampler(extremes=extremes)
    found = trained_counts(network, drawn.chances())
    counts = counted(network, [arch for step in range(STEPS // 10) for arch in drawn.archs(step)])
    for name, parameter in network.named_parameters():
        # Of 4 archs a step, each trains a weight or not: the mean's deviation is at most 1 / sqrt(steps).
        torch.testing.assert_close(
            found[parameter].float(), counts[parameter] / (STEPS // 10), rtol=0, atol=5 / (STEPS // 10) ** 0.5, msg=name
        )


def test_without_drawn_archs_counts_are_exact(supernet):
    """The two ends of the space are all there is, so one step says everything."""
    network, drawn = supernet(), sampler(extremes=SpaceEnds, middle=0)
    found, counts = trained_counts(network, drawn.chances()), counted(network, drawn.archs(0))
    assert all(torch.equal(found[parameter].float(), counts[parameter]) for parameter in counts)


def test_fair_and_random_draws_train_alike(supernet):
    network = supernet()
    one, other = (trained_counts(network, sampler(drawn).chances()) for drawn in (RandomArchs, FairArchs))
    assert all(torch.equal(one[parameter], other[parameter]) for parameter in one)


def scaled_ones(network, kind):
    """The factors, read off gradients of 1."""
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    gradient_scale(network, sampler().chances(), kind)()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("groups", [1, 3])
def test_channels_of_a_parameter_move_equally_far_in_a_mean_step(supernet, groups):
    """Count times factor is the same wherever something is trained, and its mean is the mean count."""
    network = supernet(groups)
    counts, factors = trained_counts(network, sampler().chances()), scaled_ones(network, "channel")
    for name, parameter in network.named_parameters():
        count = counts[parameter].float()
        factor = factors[name].flatten(2)[..., 0] if parameter.dim() > 2 else factors[name]
        reached = count > 0
        torch.testing.assert_close((count * factor)[reached], count[reached].mean().expand(int(reached.sum())))
        assert (factor[~reached] == 1).all()


def test_with_depth_the_first_weights_of_a_groups_blocks_move_equally_far(supernet):
    network = supernet()
    counts = trained_counts(network, sampler().chances())
    plain, deep = (scaled_ones(network, kind) for kind in ("channel", "channel_depth"))
    names = {parameter: name for name, parameter in network.named_parameters()}
    for stage in network.stages:
        moved = [
            counts[block.conv1.conv.weight].max()
            * (deep[names[block.conv1.conv.weight]] / plain[names[block.conv1.conv.weight]]).flatten()[0]
            for block in stage[0]
        ]
        assert [each.item() for each in moved] == pytest.approx([moved[0].item()] * len(moved))
        assert len({counts[block.conv1.conv.weight].max().item() for block in stage[0]}) > 1
    assert torch.equal(plain["stem.conv.weight"], deep["stem.conv.weight"])


def test_what_a_step_does_not_use_stays_without_gradient(supernet):
    network = supernet()
    gradient_scale(network, sampler().chances(), "channel")()
    assert all(parameter.grad is None for parameter in network.parameters())
