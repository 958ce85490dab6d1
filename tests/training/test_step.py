"""Which archs a step trains, at which sizes, and on what."""

from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.presets import SPACES
from fewshot_nas.training import step as under_test
from fewshot_nas.training.draws import EXTREMES, SAMPLING, FairArchs, Sampler, Shrinking
from fewshot_nas.training.step import (
    ImageSizes,
    Labels,
    Largest,
    Lesson,
    PerArch,
    Regularization,
    SupernetStep,
    resized,
)
from fewshot_nas.training.task import Batch
from tests.rounding import assert_equal_but_for_rounding, terms

pytestmark = pytest.mark.numeric

PX8 = SPACES["px8"]

POOL = PX8.pool_options
NONE = Regularization()


def sampler(seed=3, options=POOL, sampling="random", extremes="space", middle=2):
    return Sampler(SAMPLING[sampling](PX8, seed, options), EXTREMES[extremes](PX8, seed, options), middle)


class Given:
    """Archs, sizes and teachers of the test's own, as all three parts of a step."""

    def __init__(self, archs, sizes, teachers):
        self.archs, self.sides = (lambda step: archs), (lambda step, count: sizes)
        self.lessons = lambda *_: [each and Lesson(each) for each in teachers]


def sandwich(network, images, labels, archs, sizes, regularization=NONE, teachers=None, loss=None):
    """The losses of a step with archs, sizes and teachers of the test's own, by default of the largest."""
    teachers = [archs[0]] * (len(archs) - 1) if teachers is None else teachers
    given = Given(archs, sizes, [None, *teachers])
    step = SupernetStep(given, given, given, loss or PerArch(), regularization)
    return step.backward(network, Batch(images, labels, 0)).numbers


@pytest.mark.parametrize("sampling", SAMPLING)
def test_a_step_has_the_largest_some_others_and_the_smallest(sampling):
    archs = sampler(sampling=sampling, middle=3).archs(7)
    assert len(archs) == 5
    assert (archs[0], archs[-1]) == (PX8.largest, PX8.extreme(POOL, largest=False))


@pytest.mark.parametrize("extremes", EXTREMES)
@pytest.mark.parametrize("sampling", SAMPLING)
def test_archs_and_sizes_are_a_function_of_the_step(sampling, extremes):
    """So ranks draw the same, and a resumed run draws what the unbroken one would have."""
    one, other = (sampler(sampling=sampling, extremes=extremes) for _ in range(2))
    small, large = (ImageSizes(3, (6, 8)) for _ in range(2))
    other.archs(4), large.sides(4, 4)
    assert one.archs(5) == other.archs(5)
    assert small.sides(5, 4) == large.sides(5, 4)


def test_ranks_draw_the_same_archs(ranks):
    def codes():
        return [PX8.encode(arch) for step in range(20) for arch in sampler().archs(step)]

    first, second = ranks(2, codes)
    assert first == second
    assert len(set(first)) == 42  # the largest, the smallest, and two new ones per step


def test_another_seed_draws_other_archs():
    assert sampler(seed=1).archs(0)[1] != sampler(seed=2).archs(0)[1]


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("extremes", EXTREMES)
def test_only_the_options_of_the_pool_are_drawn(sampling, extremes):
    for step in range(30):
        for arch in sampler(sampling=sampling, extremes=extremes).archs(step):
            assert PX8.in_pool(arch)


def test_drawn_ends_are_extreme_in_all_but_the_output_widths():
    others = [number for number, slot in enumerate(PX8.slots) if slot.role != "out"]
    for step in range(20):
        plain, drawn = sampler().archs(step), sampler(extremes="outs").archs(step)
        for end in (0, -1):
            assert [drawn[end][slot] for slot in others] == [plain[end][slot] for slot in others]
        assert drawn[1:-1] == plain[1:-1]


def test_every_output_width_has_its_turn_at_both_ends_independently():
    steps = [sampler(extremes="outs").archs(step) for step in range(3000)]
    for slot, options in enumerate(POOL):
        if PX8.slots[slot].role != "out":
            continue
        pairs = Counter((archs[0][slot], archs[-1][slot]) for archs in steps)
        assert len(pairs) == len(options) ** 2
        for count in pairs.values():
            assert count / len(steps) == pytest.approx(1 / len(options) ** 2, rel=0.6)


def test_the_largest_sees_the_largest_images_and_the_smallest_the_smallest():
    sizes = [ImageSizes(3, (6, 8, 10)).sides(step, 4) for step in range(30)]
    assert {each[0] for each in sizes} == {10}
    assert {each[-1] for each in sizes} == {6}
    assert {size for each in sizes for size in each[1:-1]} == {6, 8, 10}


def test_without_ends_a_step_has_the_drawn_archs_of_the_others():
    """With one of them, a single path."""
    alone, among = sampler(extremes="none", middle=1), sampler(middle=1)
    assert [alone.archs(step) for step in range(5)] == [among.archs(step)[1:-1] for step in range(5)]
    assert ImageSizes(3, (6, 8), ends=False).sides(2, 1) == ImageSizes(3, (6, 8)).sides(2, 3)[1:-1]
    assert ImageSizes(3, ends=False).sides(2, 1) == [None]


def test_without_resolutions_images_stay_as_they_are(batch):
    assert ImageSizes(3).sides(0, 4) == [None] * 4
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
    seen, real = [], under_test.run_subnet

    def noted(*args, dropout, drop_connect, **more):
        seen.append((dropout, drop_connect))
        return real(*args, dropout=dropout, drop_connect=drop_connect, **more)

    monkeypatch.setattr(under_test, "run_subnet", noted)
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
        expected = F.cross_entropy(supernet()(images, arch), labels)
        assert_equal_but_for_rounding(loss, expected, terms(supernet().space, [arch], images))
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
    archs = [PX8.largest, PX8.extreme(POOL, largest=False)]
    same, other = (sandwich(supernet(), *batch, archs, sizes, NONE) for sizes in ([8, 8], [8, 5]))
    assert same[0] == other[0]
    assert same[1] != other[1]


TEACHER, *STUDENTS = make_pool(PX8, seed=1, size=3).values()
TAUGHT = [PX8.largest, *STUDENTS, PX8.extreme(POOL, largest=False)]
TEACHERS = [TEACHER, PX8.largest, TEACHER]


def gradients(network):
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


def assert_same_step(network, reference, losses, expected, archs, images, times=1):
    """Losses and gradients agree but for rounding; `times` is the largest factor that a loss is multiplied by."""
    there, back = (terms(network.space, archs, images, backward=backward) for backward in (False, True))
    assert_equal_but_for_rounding(losses, torch.stack(expected), there, "the losses")
    ours, theirs = gradients(network), gradients(reference)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert_equal_but_for_rounding(gradient, theirs[name], times * len(archs) * back, name)


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
    assert_same_step(network, reference, losses, expected, TAUGHT, images)


@pytest.mark.parametrize(("teacher", "teachers"), [(Labels(), [None] * 3), (Largest(), [PX8.largest] * 3)])
def test_a_step_is_its_parts(supernet, batch, teacher, teachers):
    """The same archs, sizes, teachers and losses as put together by hand."""
    one, other, drawn, sizes = supernet(), supernet(), sampler(), ImageSizes(3, (6, 8))
    losses = SupernetStep(drawn, sizes, teacher).backward(one, Batch(*batch, 5)).numbers
    expected = sandwich(other, *batch, drawn.archs(5), sizes.sides(5, 4), NONE, teachers)
    assert torch.equal(losses, expected)
    theirs = gradients(other)
    assert all(torch.equal(gradient, theirs[name]) for name, gradient in gradients(one).items())


class Pairs:
    """A loss over several archs: of two, the dearer one is to have the smaller loss, and it alone has to move."""

    def backward(self, answers):
        told = list(answers)
        losses = [answer.loss() for answer in told]
        pairs = [F.relu(dear - cheap.detach()) for dear, cheap in pairwise(losses)]
        (sum(losses) + 10 * sum(pairs)).backward()
        return torch.stack(losses).detach()


def test_a_loss_may_compare_the_archs_of_a_step(supernet, batch):
    """Its gradients are those of plain autograd on the whole."""
    images, labels = batch
    network, reference = supernet(), supernet()
    archs = [PX8.extreme(POOL, largest=False), *STUDENTS, PX8.largest]  # so that some pairs are in the wrong order
    losses = sandwich(network, images, labels, archs, [None] * 4, NONE, [None] * 3, Pairs())
    expected = [F.cross_entropy(reference(images, arch), labels) for arch in archs]
    pairs = [F.relu(dear - cheap.detach()) for dear, cheap in pairwise(expected)]
    assert sum(pairs) > 0
    (sum(expected) + 10 * sum(pairs)).backward()
    assert_same_step(network, reference, losses, expected, archs, images, times=10)


def test_an_arch_runs_when_its_answer_is_asked_for_and_its_graph_is_free_before(supernet, batch):
    """So one graph at a time is in memory: each of the default's losses is differentiated before the next arch runs."""
    freed = []

    class Noted:
        def backward(self, answers):
            return PerArch().backward(self._noted(answers))

        def _noted(self, answers):
            for answer in answers:
                yield answer
                with pytest.raises(RuntimeError, match="second time"):
                    answer.logits.sum().backward()
                freed.append(answer.arch)

    sandwich(supernet(), *batch, TAUGHT, [None] * 4, teachers=[None] * 3, loss=Noted())
    assert freed == TAUGHT


@pytest.mark.parametrize(("teachers", "forwards"), [([None] * 3, 4), ([PX8.largest] * 3, 4), (TEACHERS, 5)])
def test_a_teacher_costs_one_forward_and_the_largest_none(supernet, batch, monkeypatch, teachers, forwards):
    sizes, real = [], under_test.run_subnet

    def noted(weights, images, **more):
        sizes.append(images.shape[-1])
        return real(weights, images, **more)

    monkeypatch.setattr(under_test, "run_subnet", noted)
    sandwich(supernet(), *batch, TAUGHT, [8, 5, 5, 5], NONE, teachers=teachers)
    assert sorted(sizes) == [5] * 3 + [8] * (forwards - 3)  # a teacher sees what the largest sees


@pytest.mark.parametrize("name", ["macro", "channel_resnet", "px8"])
def test_a_fair_round_has_each_option_of_a_slot_equally_often(name):
    """Rounds of as many draws as the longest slot has options; a depth may leave a block out."""
    space = SPACES[name]
    most = max(len(slot.options) for slot in space.slots)
    drawn = FairArchs(space, 0, space.all_options)
    rounds = [[drawn.arch(draw) for draw in range(first, first + most)] for first in range(0, 20 * most, most)]
    for archs in rounds:
        for slot, at_slot in zip(space.slots, zip(*archs, strict=True), strict=True):
            counts = [at_slot.count(option) for option in slot.options]
            assert slot.when or max(counts) - min(counts) <= 1
        assert all(space.decode(space.encode(arch)) == arch for arch in archs)
    assert len({tuple(archs) for archs in rounds}) == len(rounds)
    assert FairArchs(space, 1, space.all_options).arch(0) != drawn.arch(0)


def test_shrinking_draws_the_largest_then_depths_then_everything():
    """The ends shrink with what is drawn."""
    steps = 100
    shrinking = Shrinking.of(lambda options: sampler(options=options, middle=3), PX8, POOL, steps)
    largest = PX8.extreme(POOL, largest=True)
    depths = [number for number, slot in enumerate(PX8.slots) if slot.role == "depth"]
    for step in (0, 9, 10, 39, 40, 99):
        archs = shrinking.archs(step)
        assert len(archs) == len(shrinking.names) == 5
        assert archs[0] == largest
        widths = {value for arch in archs for number, value in enumerate(arch) if number not in depths}
        assert (set(archs) == {largest}) == (step < 10)
        assert (widths <= {0, 1}) == (step < 40)  # the widest digit, or no block
        assert (archs[-1] == PX8.extreme(POOL, largest=False)) == (step >= 40)
    assert shrinking.archs(99) == sampler(middle=3).archs(99)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (lambda answers: None, "the loss returned None, expected a tensor"),
        (lambda answers: PerArch().backward(answers).sum(), "expected a tensor with the loss of each of 3 archs"),
        (lambda answers: torch.stack([each.loss().detach() for each in answers]), "the loss differentiated nothing"),
    ],
)
def test_a_loss_of_one_s_own_that_returns_something_else_is_refused(supernet, batch, found, said):
    archs = [PX8.largest, PX8.smallest, PX8.smallest]
    with pytest.raises(InputError, match=said):
        sandwich(supernet(), *batch, archs, [None] * 3, loss=SimpleNamespace(backward=found))
