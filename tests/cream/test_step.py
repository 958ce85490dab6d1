from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from fewshot_nas.cream.matching import Matching
from fewshot_nas.cream.step import Teaching, entry_for, guidance_for, guided_loss, meta_update, search_loss, share_right
from fewshot_nas.training.board import Board

pytestmark = pytest.mark.numeric


@pytest.fixture
def matching():
    torch.manual_seed(4)
    return Matching(2, 5)


@pytest.fixture
def guidance(supernet, paths, board, matching):
    return guidance_for(supernet, paths[0], board, matching, "meta")


@pytest.fixture
def loss_of(supernet, paths, batch):
    def compute(guidance, smoothing=0.0):
        return search_loss(supernet, paths[0], *batch, guidance, smoothing)

    return compute


@pytest.fixture
def update(supernet, paths, batch, board, matching):
    """A meta update with slices of two images."""

    def compute(images=batch[0]):
        chosen = guidance_for(supernet, paths[0], board, matching, "meta")
        meta_update(supernet, paths[0], images, batch[1], guidance=chosen, matching=matching, size=2, rate=0.1)

    return compute


def homes(path):
    """Where the tensors of a path's blocks are; stem and separable block come first."""
    return [(place, choice) for place, choice in enumerate(path, start=2)]


def test_without_a_teacher_the_labels_teach(loss_of, batch):
    outcome = loss_of(None)
    assert torch.equal(outcome.loss, F.cross_entropy(outcome.logits, batch[1]))


@pytest.mark.parametrize("taught", [False, True])
def test_labels_are_smoothed(loss_of, batch, guidance, taught):
    outcome = loss_of(replace(guidance, rho=torch.tensor(0.0)) if taught else None, smoothing=0.3)
    torch.testing.assert_close(outcome.loss, F.cross_entropy(outcome.logits, batch[1], label_smoothing=0.3))


@pytest.mark.parametrize("pick", ["meta", "top1"])
def test_with_a_teacher_both_teach(loss_of, supernet, paths, board, matching, batch, pick):
    guidance = guidance_for(supernet, paths[0], board, matching, pick)
    outcome = loss_of(guidance)
    rho = float(guidance.rho.detach())
    with torch.no_grad():
        taught = supernet(batch[0], guidance.teacher.candidate).softmax(1)
    distillation = -(taught * outcome.logits.log_softmax(1)).sum(1).mean()
    expected = (rho * distillation + (2 - rho) * F.cross_entropy(outcome.logits, batch[1])) / 2
    torch.testing.assert_close(outcome.loss, expected)
    assert rho == 0.5 if pick == "top1" else 0 < rho < 1


def test_a_weight_of_0_leaves_half_of_twice_the_cross_entropy():
    logits, taught, labels = torch.randn(4, 5), torch.rand(4, 5).softmax(1), torch.tensor([0, 1, 2, 3])
    loss = guided_loss(logits, labels, taught, torch.tensor(0.0))
    torch.testing.assert_close(loss, 2 * F.cross_entropy(logits, labels) / 2)


def test_gradients_reach_the_student_alone(loss_of, guidance, supernet, matching, paths):
    outcome = loss_of(guidance)
    outcome.loss.backward()
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
    ("pick", "epoch", "batch", "due"),
    [
        ("meta", 3, 0, True),
        ("meta", 3, 200, True),
        ("meta", 3, 199, False),
        ("meta", 2, 0, False),
        ("top1", 3, 0, False),
    ],
)
def test_when_the_matching_network_learns(board, pick, epoch, batch, due):
    assert Teaching(start_epoch=2, pick=pick).updates(epoch, board, batch) is due


@pytest.mark.parametrize(("epoch", "batch", "due"), [(3, 0, True), (3, 1, False), (3, 6, True), (2, 0, False)])
@pytest.mark.parametrize("pick", ["meta", "top1"])
def test_when_a_path_has_a_teacher(board, pick, epoch, batch, due):
    assert Teaching(start_epoch=2, pick=pick, every=3).teaches(epoch, board, batch) is due


def test_an_empty_board_teaches_nobody():
    teaching = Teaching(start_epoch=0)
    assert not teaching.updates(5, Board(3), 0)
    assert not teaching.teaches(5, Board(3), 0)


def test_an_entry_keeps_a_slice_of_its_own(batch):
    images, logits = batch[0].clone(), torch.randn(8, 5, requires_grad=True)
    entry = entry_for("path", 12.5, images, logits, 2)
    images.zero_()
    assert (entry.candidate, entry.cost) == ("path", 12.5)
    assert torch.equal(entry.images, batch[0][:2])
    assert entry.images.untyped_storage().nbytes() == entry.images.nbytes  # not the whole batch kept alive
    torch.testing.assert_close(entry.softmax, logits[:2].softmax(1).detach())
    assert not entry.softmax.requires_grad


def test_a_share_is_of_the_batch():
    assert share_right(torch.eye(4)[[0, 1, 2, 2]], torch.arange(4)) == 0.75
