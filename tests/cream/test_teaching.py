"""Who teaches a path and when, what it loses, and what the matching network learns."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from fewshot_nas.cream.board import Board
from fewshot_nas.cream.teaching import BoardTeacher, Matching, guide, meta_update
from fewshot_nas.distributed import World
from fewshot_nas.training.step import Answer, Lesson, Regularization, SupernetStep
from fewshot_nas.training.task import Batch

pytestmark = pytest.mark.numeric


@pytest.fixture
def matching():
    torch.manual_seed(4)
    return Matching(2, 5)


@pytest.fixture
def guidance(supernet, paths, board, matching):
    return guide(board, matching, lambda images: supernet(images, paths[0]), "meta")


@pytest.fixture
def step_of(supernet, paths, batch):
    """A step of the first path with a lesson; its loss and logits."""

    def compute(lesson, smoothing=0.0):
        given = SimpleNamespace(archs=lambda step: [paths[0]], lessons=lambda *_: [lesson])
        step = SupernetStep(given, teacher=given, regularization=Regularization(smoothing))
        (loss,), (logits,) = step.backward(supernet, Batch(*batch, 0))
        return loss, logits

    return compute


@pytest.fixture
def update(supernet, paths, batch, board, matching):
    """A meta update with slices of two images."""

    def compute(images=batch[0]):
        arch, given = paths[0], Batch(images, batch[1], 0)
        chosen = guide(board, matching, lambda images: supernet(images, arch), "meta")
        teacher = chosen.teacher.candidate
        meta_update(supernet, arch, given, teacher, chosen.rho, matching=matching, size=2, rate=0.1)

    return compute


@pytest.fixture
def teacher_of(board, matching):
    """A board's teacher, with epochs of a thousand steps and two of them at the beginning without lessons."""

    def make(**changed):
        keeping = SimpleNamespace(board=board, apply_pending=lambda share: None)
        optimizer = torch.optim.SGD(matching.parameters(), 0.1)
        given = {"keeping": keeping, "matching": matching, "optimizer": optimizer, "start_epoch": 2, "slice": 2}
        given |= {"per_epoch": 1000, "rate": lambda step: 0.1, "world": World.alone()}
        return BoardTeacher(**given | changed)

    return make


def homes(path):
    """Where the tensors of a path's blocks are; stem and separable block come first."""
    return [(place, choice) for place, choice in enumerate(path, start=2)]


def lesson_of(guidance, weight=None):
    return Lesson(guidance.teacher.candidate, guidance.rho.detach() if weight is None else weight)


def test_without_a_teacher_the_labels_teach(step_of, batch):
    loss, logits = step_of(None)
    assert torch.equal(loss, F.cross_entropy(logits, batch[1]))


@pytest.mark.parametrize("taught", [False, True])
def test_labels_are_smoothed(step_of, batch, guidance, taught):
    loss, logits = step_of(lesson_of(guidance, torch.tensor(0.0)) if taught else None, smoothing=0.3)
    torch.testing.assert_close(loss, F.cross_entropy(logits, batch[1], label_smoothing=0.3))


@pytest.mark.parametrize("pick", ["meta", "top1"])
def test_with_a_teacher_both_teach(step_of, supernet, paths, board, matching, batch, pick):
    guidance = guide(board, matching, lambda images: supernet(images, paths[0]), pick)
    rho = float(guidance.rho.detach())
    with torch.no_grad():
        taught = supernet(batch[0], guidance.teacher.candidate).softmax(1)
    loss, logits = step_of(lesson_of(guidance))
    distillation = -(taught * logits.log_softmax(1)).sum(1).mean()
    expected = (rho * distillation + (2 - rho) * F.cross_entropy(logits, batch[1])) / 2
    torch.testing.assert_close(loss, expected)
    assert rho == 0.5 if pick == "top1" else 0 < rho < 1


def test_a_weight_of_0_leaves_half_of_twice_the_cross_entropy():
    logits, taught, labels = torch.randn(4, 5), torch.rand(4, 5).softmax(1), torch.tensor([0, 1, 2, 3])
    loss = Answer((), logits, labels, 0.0, taught, torch.tensor(0.0)).loss()
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


def test_gradients_reach_the_student_alone(step_of, guidance, supernet, matching, paths):
    step_of(lesson_of(guidance))
    assert all(parameter.grad is None for parameter in matching.parameters())
    for student, teacher in zip(*map(homes, (paths[0], guidance.teacher.candidate)), strict=True):
        assert all(parameter.grad is not None for parameter in supernet.stored(student).parameters())
        assert all(parameter.grad is None for parameter in supernet.stored(teacher).parameters())


def test_a_meta_update_touches_the_matching_network_alone(supernet, matching, update):
    kept = {name: value.clone() for name, value in supernet.state_dict().items()}
    update()
    assert all(torch.equal(value, kept[name]) for name, value in supernet.state_dict().items())
    assert all(parameter.grad is None for parameter in supernet.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in matching.parameters())


def test_a_meta_update_reads_two_slices_and_no_more(batch, matching, update):
    def gradient_with(changed):
        images = batch[0].clone()
        images[changed] += 1.0
        update(images)
        return matching.linear.weight.grad

    plain = gradient_with(slice(0))
    assert not torch.equal(gradient_with(0), plain)
    assert not torch.equal(gradient_with(3), plain)
    assert torch.equal(gradient_with(slice(4, 8)), plain)


@pytest.mark.parametrize(
    ("pick", "step", "due"),
    [("meta", 2000, True), ("meta", 2200, True), ("meta", 2199, False), ("meta", 1000, False), ("top1", 2000, False)],
)
def test_when_the_matching_network_learns(teacher_of, supernet, paths, batch, pick, step, due):
    teacher = teacher_of(pick=pick)
    before = teacher.matching.linear.weight.clone()
    teacher.lessons(supernet, [paths[0]], Batch(*batch, step))
    assert torch.equal(teacher.matching.linear.weight, before) is not due


@pytest.mark.parametrize(("step", "due"), [(2000, True), (2001, False), (2006, True), (1998, False)])
@pytest.mark.parametrize("pick", ["meta", "top1"])
def test_when_a_path_has_a_teacher(teacher_of, supernet, paths, batch, pick, step, due):
    (lesson,) = teacher_of(pick=pick, every=3).lessons(supernet, [paths[0]], Batch(*batch, step))
    assert (lesson is not None) is due


def test_an_empty_board_teaches_nobody(teacher_of, supernet, paths, batch):
    teacher = teacher_of(keeping=SimpleNamespace(board=Board(3), apply_pending=lambda share: None), start_epoch=0)
    assert teacher.lessons(supernet, [paths[0]], Batch(*batch, 0)) == [None]
