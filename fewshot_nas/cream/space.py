"""The MBConv space of Cream of the Crop (arXiv:2010.15821), and smaller ones of the same form. Standard library only.

Seven stages: the outer two are fixed, and each block of the five between them is one of six inverted residuals.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.presets import SPACES, with_values


@dataclass(frozen=True)
class CreamSpace:
    """What all paths have in common, and what a block may be. The defaults are the published space.

    >>> CreamSpace().choices[3]
    (5, 6)

    Raises:
        InputError: names the value that makes no network.
    """

    # Channels of the stem and of stage 0.
    stem_width: int = 16
    # Stride of the stem: 1 or 2.
    stem_stride: int = 2
    # Channels of stages 1..5.
    widths: tuple[int, ...] = (24, 40, 80, 96, 192)
    # Stride of the first block of stages 1..5: 1 or 2.
    strides: tuple[int, ...] = (2, 2, 2, 1, 2)
    # Channels of stage 6.
    last_width: int = 320
    # Features before the classifier.
    head_width: int = 1280
    # Three sides of a depthwise kernel, for choices 0 and 1, 2 and 3, 4 and 5.
    kernels: tuple[int, ...] = (3, 5, 7)
    # Two factors of a block's middle width, for even and for odd choices.
    expansions: tuple[int, ...] = (4, 6)

    def __post_init__(self) -> None:
        lengths = {"widths": 5, "strides": 5, "kernels": 3, "expansions": 2}
        for name, length in lengths.items():
            if len(getattr(self, name)) != length:
                raise InputError(f"SPACE.{name} is {list(getattr(self, name))}, expected {length} numbers")
        try:
            self.network((1,) * 5)
        except InputError as error:
            raise InputError(f"SPACE.{str(error).partition(': ')[2]}") from None

    def network(self, depths: Sequence[int], in_channels: int = 3, resolution: int = 224) -> MBConvSpace:
        """The space of the networks with these numbers of blocks in stages 1..5."""
        return _network(self, tuple(depths), in_channels, resolution)

    @property
    def choices(self) -> tuple[tuple[int, int], ...]:
        """By index: kernel side and expansion, as `MBConvSpace.choices`."""
        return self.network((1,) * 5).choices

    def last_side(self, resolution: int) -> int:
        """Side of the smallest feature maps of square images, in pixels."""
        return self.network((1,) * 5).sides(resolution)[-1]


@lru_cache(maxsize=256)
def _network(values: CreamSpace, depths: tuple[int, ...], in_channels: int, resolution: int) -> MBConvSpace:
    given = {**asdict(values), "lengths": depths, "in_channels": in_channels, "resolution": resolution}
    space = with_values(SPACES["cream"], given)
    assert isinstance(space, MBConvSpace)
    return space


PUBLISHED = CreamSpace()
