import pytest
import torch
import torch.nn.functional as F

from fewshot_nas.cream.matching import Matching
from fewshot_nas.cream.step import (
    Teaching,
    entry_for,
    guidance_for,
    guided_loss,
    meta_update,
    search_loss,
    share_right,
    teacher_probabilities,
)
from fewshot_nas.cream.supernet import batch_statistics
from fewshot_nas.training.board import Board

pytestmark = pytest.mark.numeric

TEACHING = Teaching(start_epoch=2, slice=2, smoothing=0.0)


@pytest.fixture
def matching():
    torch.manual_seed(4)
    return Matching(2, 5)


@pytest.fixture
def loss_of(supernet, paths, batch, board, matching):
    def compute(teaching=TEACHING, epoch=3, board=board):
        return search_loss(supernet, paths[0], *batch, board=board, matching=matching, teaching=teaching, epoch=epoch)

    return compute


def buffers(network):
    return {name: value.clone() for name, value in network.named_buffers()}


def same(network, kept):
    return all(torch.equal(value, kept[name]) for name, value in network.named_buffers())


@pytest.mark.parametrize(("epoch", "filled"), [(2, True), (3, False)])
def test_without_a_teacher_the_labels_teach(loss_of, board, batch, epoch, filled):
    outcome = loss_of(epoch=epoch, board=board if filled else Board(3))
    assert torch.equal(outcome.loss, F.cross_entropy(outcome.logits, batch[1]))


def test_labels_are_smoothed(loss_of, batch):
    outcome = loss_of(Teaching(smoothing=0.3), epoch=0)
    assert torch.equal(outcome.loss, F.cross_entropy(outcome.logits, batch[1], label_smoothing=0.3))


@pytest.mark.parametrize("pick", ["meta", "top1"])
def test_with_a_teacher_both_teach(loss_of, supernet, paths, board, matching, batch, pick):
    guidance = guidance_for(supernet, paths[0], board, matching, pick)
    outcome = loss_of(Teaching(start_epoch=2, slice=2, smoothing=0.0, pick=pick))
    rho = float(guidance.rho.detach())
    with torch.no_grad(), batch_statistics(supernet):
        taught = supernet(batch[0], guidance.teacher.candidate).softmax(1)
    distillation = -(taught * outcome.logits.log_softmax(1)).sum(1).mean()
    expected = (rho * distillation + (2 - rho) * F.cross_entropy(outcome.logits, batch[1])) / 2
    torch.testing.assert_close(outcome.loss, expected)
    assert rho == 0.5 if pick == "top1" else 0 < rho < 1


def test_a_weight_of_0_leaves_half_of_twice_the_cross_entropy():
    logits, taught, labels = torch.randn(4, 5), torch.rand(4, 5).softmax(1), torch.tensor([0, 1, 2, 3])
    loss = guided_loss(logits, labels, taught, torch.tensor(0.0))
    torch.testing.assert_close(loss, 2 * F.cross_entropy(logits, labels) / 2)


def test_gradients_reach_the_student_alone(loss_of, supernet, board, matching, paths):
    guidance = guidance_for(supernet, paths[0], board, matching, "meta")
    outcome = loss_of()
    outcome.loss.backward()
    assert all(parameter.grad is None for parameter in matching.parameters())
    stages = zip(supernet.stages, paths[0], guidance.teacher.candidate, strict=True)
    for stage, mine, theirs in stages:
        for place, student, teacher in zip(stage, mine, theirs, strict=True):
            assert all(parameter.grad is not None for parameter in place[student].parameters())
            assert all(parameter.grad is None for parameter in place[teacher].parameters())


def test_a_teacher_leaves_every_norm_as_it_was(supernet, paths, batch):
    kept = buffers(supernet)
    teacher_probabilities(supernet, paths[1], batch[0])
    assert same(supernet, kept)


def test_the_choice_of_a_teacher_leaves_every_norm_as_it_was(supernet, paths, board, matching):
    kept = buffers(supernet)
    guidance_for(supernet, paths[0], board, matching, "meta")
    assert same(supernet, kept)


def test_a_taught_step_moves_the_same_statistics_as_an_untaught_one(loss_of, supernet):
    start = supernet.state_dict(keep_vars=False)
    start = {name: value.clone() for name, value in start.items()}
    loss_of(epoch=0)
    untaught = buffers(supernet)
    supernet.load_state_dict(start)
    loss_of()
    assert same(supernet, untaught)


def test_a_meta_update_touches_the_matching_network_alone(supernet, paths, batch, board, matching):
    kept = {name: value.clone() for name, value in supernet.state_dict().items()}
    meta_update(supernet, paths[0], *batch, board=board, matching=matching, teaching=TEACHING, rate=0.1)
    assert all(torch.equal(value, kept[name]) for name, value in supernet.state_dict().items())
    assert all(parameter.grad is None for parameter in supernet.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in matching.parameters())


def test_a_meta_update_reads_two_slices_and_no_more(supernet, paths, batch, board, matching):
    def gradient_with(changed):
        images = batch[0].clone()
        images[changed] += 1.0
        meta_update(supernet, paths[0], images, batch[1], board=board, matching=matching, teaching=TEACHING, rate=0.1)
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


def test_nothing_is_to_be_learnt_from_an_empty_board():
    assert not Teaching(start_epoch=0).updates(5, Board(3), 0)


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
