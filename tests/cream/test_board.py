import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.board import Board, BoardEntry

OFFERS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20), st.integers(0, 3)))


def entry(candidate, accuracy, cost=10.0):
    return BoardEntry(candidate, accuracy, cost, torch.full((4, 1, 2, 2), accuracy), torch.full((4, 3), 1 / 3))


def shown(board):
    return [each.candidate for each in board.entries]


@given(OFFERS)
def test_a_board_is_sorted_bounded_and_without_duplicates(offers):
    board = Board(4)
    for candidate, accuracy, cost in offers:
        board.offer(entry(candidate, float(accuracy), float(cost)))
        accuracies = [each.accuracy for each in board.entries]
        assert accuracies == sorted(accuracies, reverse=True)
        assert len(board) == len(set(shown(board))) <= 4


@pytest.mark.parametrize(
    ("accuracy", "cost", "admitted"),
    [
        (55.1, 11, True),  # beyond the gap, dearer
        (55.1, 9, True),
        (55.0, 11, False),  # not beyond the gap
        (55.0, 9, True),  # better and cheaper
        (50.1, 10, False),  # better and as dear
        (50.1, 9, True),
        (50.0, 9, False),  # as good and cheaper
        (49.9, 1, False),  # worse
    ],
)
def test_who_comes_onto_a_full_board(accuracy, cost, admitted):
    board = Board(2)
    board.offer(entry("best", 90.0))
    board.offer(entry("last", 50.0, 10.0))
    board.offer(entry("new", accuracy, cost))
    assert shown(board) == ["best", "new" if admitted else "last"]


def test_a_free_place_takes_anybody():
    board = Board(2)
    board.offer(entry("best", 90.0, 1.0))
    board.offer(entry("new", 0.0, 99.0))
    assert shown(board) == ["best", "new"]


def test_a_candidate_that_comes_again_is_measured_anew():
    board = Board(2)
    for candidate, accuracy in (("a", 80.0), ("b", 70.0), ("a", 60.0)):
        board.offer(entry(candidate, accuracy))
    assert [(each.candidate, each.accuracy) for each in board.entries] == [("b", 70.0), ("a", 60.0)]


def test_equal_accuracies_and_costs_compare_nothing_else():
    board = Board(3)
    for candidate in (object(), object(), object()):  # neither these nor tensors have an order
        board.offer(entry(candidate, 50.0))
    assert len(board) == 3


def test_of_equal_accuracies_the_cheaper_comes_first_then_the_older():
    board = Board(4)
    for candidate, cost in (("old", 3.0), ("dear", 5.0), ("young", 3.0), ("cheap", 1.0)):
        board.offer(entry(candidate, 50.0, cost))
    assert shown(board) == ["cheap", "old", "young", "dear"]


def test_a_board_survives_a_file(tmp_path):
    board, again = Board(3), Board(3)
    for candidate, accuracy in ((((1,), (2, 3)), 40.0), (((0,), (0, 0)), 60.0)):
        board.offer(entry(candidate, accuracy))
    torch.save(board.state_dict(), tmp_path / "board")
    again.load_state_dict(torch.load(tmp_path / "board", weights_only=True))
    for one, other in zip(board.entries, again.entries, strict=True):
        assert (one.candidate, one.accuracy, one.cost) == (other.candidate, other.accuracy, other.cost)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.softmax, other.softmax)


def test_a_board_does_not_take_up_more_than_it_holds():
    board = Board(2)
    for candidate in "ab":
        board.offer(entry(candidate, 50.0))
    with pytest.raises(InputError, match="has 2 entries, expected at most 1"):
        Board(1).load_state_dict(board.state_dict())


def test_a_board_without_room_is_refused():
    with pytest.raises(InputError, match="the board's size is 0"):
        Board(0)
