"""Which archs a step trains, at which sizes, and on what."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.sampling import largest, smallest
from fewshot_nas.space.search_space import SPACES
from fewshot_nas.training import sandwich as under_test
from fewshot_nas.training.sandwich import Regularization, Sampler, resized, sandwich

PX8 = SPACES["px8"]

POOL = (3, 3, 5, 7)
NONE = Regularization()


def sampler(**changes):
    return Sampler(**{"space": PX8, "seed": 3, "digits": POOL, "fair": False, "middle": 2} | changes)


@pytest.mark.parametrize("fair", [False, True])
def test_a_step_has_the_largest_some_others_and_the_smallest(fair):
    archs = sampler(fair=fair, middle=3).archs(7)
    assert len(archs) == 5
    assert (archs[0], archs[-1]) == (largest(PX8), smallest(PX8, POOL))


@pytest.mark.parametrize("fair", [False, True])
def test_archs_and_sizes_are_a_function_of_the_step(fair):
    """So ranks draw the same, and a resumed run draws what the unbroken one would have."""
    one, other = (sampler(fair=fair, resolutions=(6, 8)) for _ in range(2))
    other.archs(4), other.sizes(4)
    assert one.archs(5) == other.archs(5)
    assert one.sizes(5) == other.sizes(5)


def test_ranks_draw_the_same_archs(ranks):
    def codes():
        return [PX8.encode(arch) for step in range(20) for arch in sampler().archs(step)]

    first, second = ranks(2, codes)
    assert first == second
    assert len(set(first)) == 42  # the largest, the smallest, and two new ones per step


def test_another_seed_draws_other_archs():
    assert sampler(seed=1).archs(0)[1] != sampler(seed=2).archs(0)[1]


@pytest.mark.parametrize("fair", [False, True])
def test_only_the_digits_of_the_pool_are_drawn(fair):
    for step in range(30):
        for arch in sampler(fair=fair).archs(step):
            for out, mids, digits in zip(arch.outs, arch.mids, POOL, strict=True):
                assert max(out, *mids) <= digits


def test_fair_draws_use_every_digit_equally_often():
    drawn = [arch for step in range(21) for arch in sampler(fair=True, digits=(7,) * 4, middle=1).archs(step)[1:-1]]
    assert [sum(arch.outs[2] == digit for arch in drawn) for digit in range(1, 8)] == [3] * 7


def test_drawn_ends_are_extreme_in_all_but_the_out_digits():
    for step in range(20):
        plain, drawn = sampler().archs(step), sampler(drawn_outs=True).archs(step)
        assert (drawn[0].mids, drawn[-1].mids) == (plain[0].mids, plain[-1].mids)
        assert drawn[1:-1] == plain[1:-1]


def test_every_out_digit_has_its_turn_at_both_ends_independently():
    steps = [sampler(drawn_outs=True).archs(step) for step in range(3000)]
    for stage, digits in enumerate(POOL):
        pairs = Counter((archs[0].outs[stage], archs[-1].outs[stage]) for archs in steps)
        assert len(pairs) == digits**2
        for count in pairs.values():
            assert count / len(steps) == pytest.approx(1 / digits**2, rel=0.6)


def test_the_largest_sees_the_largest_images_and_the_smallest_the_smallest():
    drawn = sampler(resolutions=(6, 8, 10))
    sizes = [drawn.sizes(step) for step in range(30)]
    assert {each[0] for each in sizes} == {10}
    assert {each[-1] for each in sizes} == {6}
    assert {size for each in sizes for size in each[1:-1]} == {6, 8, 10}


def test_without_resolutions_images_stay_as_they_are(batch):
    assert sampler().sizes(0) == [None] * 4
    assert resized(batch[0], None) is batch[0]
    assert resized(batch[0], 8) is batch[0]


def test_resized_images_keep_their_mean():
    images = torch.full((2, 1, 8, 8), 0.25)
    assert torch.allclose(resized(images, 5), torch.full((2, 1, 5, 5), 0.25))


def losses_of(network, batch, regularization):
    torch.manual_seed(0)
    archs = sampler().archs(0)
    return sandwich(network, *batch, archs, [None] * len(archs), regularization)


@pytest.mark.parametrize("rates", [{"dropout": 0.5}, {"drop_connect": 0.9}, {"label_smoothing": 0.5}])
def test_regularization_changes_the_loss_of_the_largest(supernet, batch, rates):
    plain, regularized = (losses_of(supernet(), batch, each) for each in (NONE, Regularization(**rates)))
    assert plain[0] != regularized[0]


def test_nothing_is_dropped_in_the_others(supernet, batch, monkeypatch):
    seen, real = [], under_test.run

    def noted(*args, dropout, drop_connect, **more):
        seen.append((dropout, drop_connect))
        return real(*args, dropout=dropout, drop_connect=drop_connect, **more)

    monkeypatch.setattr(under_test, "run", noted)
    losses_of(supernet(), batch, Regularization(0.1, 0.2, 0.3))
    assert seen == [(0.2, 0.3)] + [(0.0, 0.0)] * 3


def test_the_others_learn_the_largest_not_the_labels(supernet, batch):
    images, labels = batch
    network = supernet()
    one = losses_of(network, (images, labels), NONE)
    other = losses_of(network, (images, (labels + 1) % 5), NONE)
    assert one[0] != other[0]
    assert torch.equal(one[1:], other[1:])


def test_without_teachers_all_learn_the_labels(supernet, batch):
    images, labels = batch
    archs = sampler().archs(0)

    def losses(labels):
        return sandwich(supernet(), images, labels, archs, [None] * 4, NONE, teachers=[None] * 3)

    for arch, loss in zip(archs, losses(labels), strict=True):
        assert loss == F.cross_entropy(supernet()(images, arch), labels).detach()
    assert (losses(labels) != losses((labels + 1) % 5)).all()


def test_labels_are_smoothed_for_all_that_learn_them(supernet, batch):
    archs, smooth = sampler().archs(0), Regularization(label_smoothing=0.5)
    plain, smoothed = (
        sandwich(supernet(), *batch, archs, [None] * 4, each, teachers=[None] * 3) for each in (NONE, smooth)
    )
    assert (plain != smoothed).all()
    taught, smoothly_taught = (sandwich(supernet(), *batch, archs, [None] * 4, each) for each in (NONE, smooth))
    assert torch.equal(taught[1:], smoothly_taught[1:])


def test_images_of_another_size_reach_the_subnet(supernet, batch):
    archs = [largest(PX8), smallest(PX8, POOL)]
    same, other = (sandwich(supernet(), *batch, archs, sizes, NONE) for sizes in ([8, 8], [8, 5]))
    assert same[0] == other[0]
    assert same[1] != other[1]


TEACHER, *STUDENTS = make_pool(PX8, seed=1, size=3).values()
TAUGHT = [largest(PX8), *STUDENTS, smallest(PX8, POOL)]
TEACHERS = [TEACHER, largest(PX8), TEACHER]


def gradients(network):
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


def test_a_teacher_gets_no_gradient(supernet, batch):
    """The gradients are those of plain autograd with answers that are constants."""
    network, reference = supernet(), supernet()
    losses = sandwich(network, *batch, TAUGHT, [None] * 4, NONE, teachers=TEACHERS)
    images, labels = batch
    expected = [F.cross_entropy(reference(images, TAUGHT[0]), labels)]
    for student, teacher in zip(TAUGHT[1:], TEACHERS, strict=True):
        answers = reference(images, teacher).detach().softmax(1)
        expected.append(F.cross_entropy(reference(images, student), answers))
    torch.stack(expected).sum().backward()
    torch.testing.assert_close(losses, torch.stack(expected).detach())
    torch.testing.assert_close(gradients(network), gradients(reference), rtol=1e-3, atol=1e-5)


def test_the_largest_as_everybodys_teacher_is_the_sandwich_rule(supernet, batch):
    """Bit by bit."""
    one, other = supernet(), supernet()
    plain = sandwich(one, *batch, TAUGHT, [None] * 4, NONE)
    taught = sandwich(other, *batch, TAUGHT, [None] * 4, NONE, teachers=[largest(PX8)] * 3)
    assert torch.equal(plain, taught)
    theirs = gradients(other)
    assert all(torch.equal(gradient, theirs[name]) for name, gradient in gradients(one).items())


@pytest.mark.parametrize(("teachers", "forwards"), [((), 4), ([largest(PX8)] * 3, 4), (TEACHERS, 5)])
def test_a_teacher_costs_one_forward_and_the_largest_none(supernet, batch, monkeypatch, teachers, forwards):
    sizes, real = [], under_test.run

    def noted(weights, images, **more):
        sizes.append(images.shape[-1])
        return real(weights, images, **more)

    monkeypatch.setattr(under_test, "run", noted)
    sandwich(supernet(), *batch, TAUGHT, [8, 5, 5, 5], NONE, teachers=teachers)
    assert sorted(sizes) == [5] * 3 + [8] * (forwards - 3)  # a teacher sees what the largest sees
