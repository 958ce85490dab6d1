from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from fewshot_nas.cream.board import Board, BoardEntry
from fewshot_nas.cream.teaching import Matching, guide, meta_gradients

pytestmark = pytest.mark.numeric

RATE = 0.3


@pytest.fixture
def classroom():
    """A small student in float64, a board of two teachers, and two slices of a batch."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    unused = nn.Linear(2, 2).double()
    matching = Matching(2, 3).double()
    board = Board(2)
    for candidate in range(2):
        images = torch.randn(2, 6, generator=generator).double()
        softmax = torch.randn(2, 3, generator=generator).double().softmax(1)
        board.offer(BoardEntry(candidate, 50.0 - candidate, 1.0, images, softmax))
    training, held = torch.randn(2, 4, 6, generator=generator).double()
    taught = torch.randn(4, 3, generator=generator).double().softmax(1)
    labels = torch.tensor([0, 1, 2, 0])
    return student, unused, matching, board, training, taught, held, labels


def closed_form(classroom):
    student, unused, matching, board, training, taught, held, labels = classroom
    return meta_gradients(
        guide(board, matching, student, "meta").rho,
        tuple(matching.parameters()),
        (*student.parameters(), *unused.parameters()),
        lambda: F.cross_entropy(student(training), taught),
        lambda: F.cross_entropy(student(held), labels),
        RATE,
    )


def loss_ahead(classroom):
    """The held loss after the student's step, differentiable in the matching network."""
    student, _, matching, board, training, taught, held, labels = classroom
    rho = guide(board, matching, student, "meta").rho
    weights = dict(student.named_parameters())
    distillation = F.cross_entropy(functional_call(student, weights, (training,)), taught)
    slopes = torch.autograd.grad(rho * distillation, tuple(weights.values()), create_graph=True)
    moved = {name: weight - RATE * slope for (name, weight), slope in zip(weights.items(), slopes, strict=True)}
    return F.cross_entropy(functional_call(student, moved, (held,)), labels)


def test_the_closed_form_is_what_autograd_finds_through_the_step(classroom):
    expected = torch.autograd.grad(loss_ahead(classroom), tuple(classroom[2].parameters()))
    for one, other in zip(closed_form(classroom), expected, strict=True):
        assert one.abs().max() > 1e-6
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


def test_the_closed_form_is_what_finite_differences_find(classroom):
    gradient = closed_form(classroom)[0].flatten()
    weight = classroom[2].linear.weight
    for place in range(weight.numel()):
        losses = []
        for shift in (1e-5, -1e-5):
            with torch.no_grad():
                weight.view(-1)[place] += shift
            losses.append(float(loss_ahead(classroom).detach()))
            with torch.no_grad():
                weight.view(-1)[place] -= shift
        assert float(gradient[place]) == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-5, abs=1e-11)


def test_autocast_computes_with_the_weights_of_the_step_ahead():
    """It keeps copies of weights, which are to be neither older nor younger than the weights."""
    torch.manual_seed(0)
    student, weight, images = nn.Linear(3, 2), nn.Parameter(torch.zeros(())), torch.randn(4, 3)
    seen = []

    def loss():
        seen.append(student(images))
        return F.cross_entropy(seen[-1].float(), torch.tensor([0, 1, 0, 1]))

    with torch.autocast("cpu", torch.bfloat16):
        meta_gradients(weight.sigmoid(), (weight,), tuple(student.parameters()), loss, loss, rate=10.0)
        loss()
    before, ahead, after = seen
    assert not torch.equal(ahead, before)
    assert torch.equal(after, before)


def test_the_student_is_left_as_it_was(classroom):
    before = {name: value.clone() for name, value in classroom[0].state_dict().items()}
    closed_form(classroom)
    assert all(torch.equal(value, before[name]) for name, value in classroom[0].state_dict().items())
    assert all(parameter.grad is None for parameter in classroom[0].parameters())


def test_the_student_is_left_as_it_was_after_an_error(classroom):
    student, _, matching, board, training, taught, *_ = classroom
    before = {name: value.clone() for name, value in student.state_dict().items()}
    rho = guide(board, matching, student, "meta").rho

    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        meta_gradients(
            rho,
            tuple(matching.parameters()),
            tuple(student.parameters()),
            lambda: F.cross_entropy(student(training), taught),
            fail,
            RATE,
        )
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


@pytest.mark.parametrize("aligned", [True, False])
def test_a_teacher_that_agrees_with_validation_gains_weight(classroom, aligned):
    student, unused, matching, board, training, _, _, _ = classroom
    labels = torch.zeros(4, dtype=torch.long)
    said = F.one_hot(labels if aligned else labels + 1, 3).double()
    classroom = (student, unused, matching, board, training, said, training, labels)
    before = guide(board, matching, student, "meta")
    gradients = closed_form(classroom)
    with torch.no_grad():
        for weight, gradient in zip(matching.parameters(), gradients, strict=True):
            weight -= 1e-3 * gradient
        entry = before.teacher
        answers = student(entry.images).softmax(1)
        after = matching(answers[None], entry.softmax[None]).sigmoid()
    assert bool(after > before.rho) is aligned


def test_the_entry_with_the_highest_score_teaches_with_that_score(classroom):
    student, _, matching, board, *_ = classroom
    scores = []
    for entry in board.entries:
        difference = student(entry.images).softmax(1) - entry.softmax
        scores.append(matching.linear(difference.reshape(1, -1)).squeeze().detach())
    best = max(range(2), key=lambda place: float(scores[place]))
    guidance = guide(board, matching, student, "meta")
    assert guidance.teacher is board.entries[best]
    torch.testing.assert_close(guidance.rho, scores[best].sigmoid())
    # Were the order the other way round, so would be the choice: not the first, not the last.
    with torch.no_grad():
        matching.linear.weight.neg_()
        matching.linear.bias.neg_()
    assert guide(board, matching, student, "meta").teacher is board.entries[1 - best]


def test_images_that_entries_share_go_through_the_student_once(classroom):
    student, _, matching, board, *_ = classroom
    shared = board.entries[0].images
    seen = []

    def counted(images):
        seen.append(images)
        return student(images)

    for copies in (lambda: shared, shared.clone):
        board.replace([replace(entry, images=copies()) for entry in board.entries])
        guidance = guide(board, matching, counted, "meta")
        scores = [matching(student(shared).softmax(1)[None], entry.softmax[None]) for entry in board.entries]
        torch.testing.assert_close(guidance.rho, torch.cat(scores).max().sigmoid())
    assert [len(images) for images in seen] == [2, 4]


def test_top1_takes_the_best_at_half_weight_and_asks_nobody(classroom):
    board = classroom[3]
    guidance = guide(board, None, None, "top1")
    assert guidance.teacher is board.entries[0]
    assert float(guidance.rho) == 0.5


def test_rho_depends_on_the_matching_network_alone(classroom):
    student, _, matching, board, *_ = classroom
    guide(board, matching, student, "meta").rho.backward()
    assert all(parameter.grad is None for parameter in student.parameters())
    assert all(parameter.grad is not None for parameter in matching.parameters())
