"""A space of one's own is refused with a sentence if its parts do not fit together; those of ours all do."""

import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.block import IDENTITY, Block, Head, Op
from fewshot_nas.space.presets import SPACES, preset
from fewshot_nas.space.space import STEM, Place, Slot, Space

SOME = Block((Op(4, 4, 3),), ())


@dataclass(frozen=True)
class Own(Space):
    """A stem, and a block or none in each of two stages, the second after a change of width."""

    name: str = "own"
    in_channels: int = 1
    resolution: int = 8
    slots: tuple[Slot, ...] = (Slot("0 block", 0, "block", (0, 1)), Slot("1 block", 1, "block", (0, 1, 2)))
    places: tuple[Place, ...] = (Place(STEM), Place(0, (0,), choice=0), Place(1), Place(1, (1,), choice=1))
    stem: int = 4
    block: Block = SOME
    last: int = 6

    def block_at(self, place, arch):
        if place in (0, 2):
            return Block((Op(*((self.in_channels, self.stem) if place == 0 else (4, 6)), 3),), None)
        if place == 1:
            return self.block if arch[0] else IDENTITY
        return Block((Op(6, 6 * arch[1], 1), Op(6 * arch[1], 6, 1)), ()) if arch[1] else IDENTITY

    def head(self, arch):
        return Head(self.last)


def made(monkeypatch, found):
    monkeypatch.setitem(sys.modules, "of_mine", SimpleNamespace(space=found))
    return preset("of_mine:space")


def test_spaces_whose_parts_fit_together_are_taken(monkeypatch):
    assert made(monkeypatch, Own).name == made(monkeypatch, Own()).name == "of_mine:space"
    for space in SPACES.values():
        assert made(monkeypatch, space) == replace(space, name="of_mine:space")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slots": (Slot("x", 0, "block", (0, 1)), Slot("x", 1, "block", (0, 1)))}, "slots are named x, x"),
        ({"slots": (Slot("a", 0, "block", (0, 11)), Slot("b", 1, "block", (0, 1)))}, "has the options .* one digit"),
        ({"places": (Place(STEM), Place(1, (0,)), Place(2), Place(2, (1,)))}, r"stages \[-1, 1, 2\]"),
        ({"places": (Place(STEM), Place(0, (7,)), Place(1), Place(1, (1,)))}, "reads a slot that is not there"),
        ({"places": (Place(STEM), Place(0, (0,)), Place(1), Place(1))}, "not among the place's `reads`"),
        ({"stem": 5}, r"arch 12, place 1 \(stage 0\): a convolution takes 4 channels, but gets 5"),
        ({"last": 7}, "the head takes 7 channels, but gets 6"),
        ({"block": Block((Op(4, 4, 2),), ())}, "kernel=2.* odd kernels"),
        ({"block": Block((Op(4, 4, 3, groups=2),), ())}, "1 group or one for each channel"),
        ({"block": Block((Op(4, 4, 3, stride=2),), ())}, "the shortcut is the identity, but"),
        ({"block": Block((Op(4, 4, 3, stride=2),), (Op(4, 4, 1),))}, "expected the inputs, outputs and stride"),
    ],
)
def test_the_first_part_that_does_not_fit_is_named(monkeypatch, changes, said):
    with pytest.raises(InputError, match=f"space of_mine:space: .*{said}"):
        made(monkeypatch, Own(**changes))


@pytest.mark.parametrize("found", [Space, lambda name: Own(), lambda: None])
def test_what_makes_no_space_is_refused(monkeypatch, found):
    with pytest.raises(InputError, match=r"of_mine:space', which (makes no|is no) Space"):
        made(monkeypatch, found)
