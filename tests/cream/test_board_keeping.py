"""Who comes onto the board: by review on held images, or by each step's batch."""

import random

import pytest
import torch

from fewshot_nas.cream.board import Board, ByBatch, ByReview, TrainedPath, neighbour, review_steps, share_right
from fewshot_nas.cream.flops import Budget
from fewshot_nas.cream.model import CreamSpace
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.scorer import Scorer

BUDGET = Budget(CreamSpace().of((1, 2, 1, 1, 1), 32), 0, 4)


@pytest.fixture
def inputs(batch):
    images = (batch[0] * 40 + 128).clamp(0, 255).to(torch.uint8)
    return Inputs(images, 4, images, batch[1], 4, (0.5,), (0.2,), torch.device("cpu"))


@pytest.fixture
def trained(supernet, batch, paths):
    """A step after which there is a review."""
    return TrainedPath(5, paths[0], supernet, batch[0], torch.randn(8, 5), torch.tensor(0.75))


def review(board, inputs, **changed):
    values = {"steps": frozenset({5}), "size": 3, "candidates": 6, "seed": 0, "images_kept": 2, "world": World.alone()}
    return ByReview(board=board, budget=BUDGET, inputs=inputs, **(values | changed))


def test_a_step_s_path_is_offered_with_its_batch_s_accuracy(trained):
    board = Board(2)
    keeping = ByBatch(board, BUDGET, 2, World.alone())
    keeping.note(trained)
    keeping.apply_pending()
    (entry,) = board.entries
    assert (entry.candidate, entry.accuracy, entry.cost) == (trained.path, 75.0, BUDGET.mflops(trained.path))
    assert torch.equal(entry.images, trained.images[:2])
    assert entry.images.untyped_storage().nbytes() == entry.images.nbytes  # not the whole batch kept alive
    torch.testing.assert_close(entry.softmax, trained.logits[:2].softmax(1))


def test_paths_before_the_first_step_are_not_offered(trained):
    keeping = ByBatch(Board(2), BUDGET, 2, World.alone(), first=6)
    keeping.note(trained)
    keeping.apply_pending()
    assert not len(keeping.board)


def test_a_share_is_of_the_batch():
    assert share_right(torch.eye(4)[[0, 1, 2, 2]], torch.arange(4)) == 0.75


def test_the_best_of_all_that_are_scored_stay_with_today_s_scores(supernet, inputs, trained, board):
    old = [entry.candidate for entry in board.entries]
    keeping = review(board, inputs)
    scored = [*dict.fromkeys([*old, *keeping._new(old, random.Random("0/review/5"))])]
    expected = sorted((each.prob for each in Scorer(supernet, inputs).scores(scored)), reverse=True)
    keeping.note(trained)
    assert len(scored) > 6
    assert [entry.accuracy for entry in board.entries] == expected[:3]  # those before had 48 to 50 %
    for entry in board.entries:
        (score,) = Scorer(supernet, inputs).scores([entry.candidate])
        assert entry.accuracy == pytest.approx(score.prob)
        assert entry.images.shape == (2, 1, 32, 32)
        torch.testing.assert_close(entry.softmax.sum(1), torch.ones(2))


def test_entries_share_their_images_after_a_resume_too(inputs, trained, board, tmp_path):
    """So the student sees these images once, in one batch of the same size as without the interruption."""
    review(board, inputs).note(trained)
    torch.save(board.state_dict(), tmp_path / "board.pth")
    resumed = Board(3)
    resumed.load_state_dict(torch.load(tmp_path / "board.pth", weights_only=True))
    for each in (board, resumed):
        assert len({id(entry.images) for entry in each.entries}) == 1


def test_between_reviews_nothing_changes(inputs, trained, board):
    before = board.entries
    review(board, inputs, steps=frozenset({4, 6})).note(trained)
    assert board.entries == before


def test_half_of_the_new_paths_are_neighbours_of_the_board_s(board, inputs, paths):
    old = paths[1:]
    found = list(review(board, inputs, candidates=8)._new(old, random.Random(1)))
    assert len(found) == 8
    for number, path in enumerate(found[1::2]):
        assert 1 <= differences(path, old[number % 3]) <= 2
    assert list(review(board, inputs, candidates=8)._new(old, random.Random(1))) == found


def differences(one, other):
    return sum(mine != theirs for mine, theirs in zip(one, other, strict=True))


def test_neighbours_lie_within_the_bounds(paths):
    rng = random.Random(0)
    low, high = BUDGET.mflops(paths[1]) - 0.3, BUDGET.mflops(paths[1]) + 0.3
    budget = Budget(BUDGET.space, low, high)
    found = {neighbour(paths[1], budget, rng) for _ in range(60)}
    assert len(found) > 5
    assert paths[1] not in found
    assert all(low <= budget.mflops(path) <= high for path in found)


def test_a_path_without_neighbours_stays(paths):
    cost = BUDGET.mflops(paths[1])
    assert neighbour(paths[1], Budget(BUDGET.space, cost, cost), random.Random(0)) == paths[1]


@pytest.mark.parametrize(("first", "total", "reviews"), [(0, 10, 1), (4, 10, 3), (5, 7, 9)])
def test_the_last_review_is_after_the_last_step(first, total, reviews):
    assert max(review_steps(first, total, reviews)) == total - 1


@pytest.mark.dist
def test_two_processes_review_as_one(inputs, trained, board, ranks):
    alone = Board(3)
    alone.replace(board.entries)
    review(alone, inputs).note(trained)

    def on_a_rank():
        from fewshot_nas.distributed import joined

        with joined("cpu") as world:
            review(board, inputs, world=world).note(trained)
        return [(entry.candidate, entry.accuracy, entry.softmax.tolist()) for entry in board.entries]

    first, second = ranks(2, on_a_rank)
    assert first == second
    assert [each[0] for each in first] == [entry.candidate for entry in alone.entries]
