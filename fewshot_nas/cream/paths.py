"""Paths through the space of Cream of the Crop (arXiv:2010.15821). Standard library only.

A network has seven stages. The first and the last are fixed. Each block of the five others is one of
six inverted residuals. A path lists the index of this choice for every block, stage by stage.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.space import PUBLISHED, CreamSpace
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.space import Arch

CreamPath = tuple[tuple[int, ...], ...]  # stages 1..5, for each block the index of its choice


class Model(NamedTuple):
    """A network: its path, the side in pixels of its images, and the space that the path is of."""

    path: CreamPath
    resolution: int
    space: CreamSpace = PUBLISHED

    def network(self, in_channels: int = 3) -> MBConvSpace:
        """The space of networks that `arch_of(path)` is an arch of."""
        return self.space.network(tuple(map(len, self.path)), in_channels, self.resolution)

    def values(self) -> dict[str, Any]:
        """What files say of a network: strides and image size do not show in the shapes of its tensors."""
        space = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self.space).items()}
        return {"INPUT_ARCH": format_path(self.path), "resolution": self.resolution, "space": space}


STAGES = len(PUBLISHED.widths)
CHOICES = len(PUBLISHED.choices)

PRIOR = (0.05, 0.2, 0.05, 0.5, 0.05, 0.15)  # probability of each choice
UNIFORM = (1 / 6,) * 6

_FIXED = [0]  # stands for stages 0 and 6 in INPUT_ARCH
_TEMPLATE = ((3, 4), (5, 4), (3, 6), (3, 6), (5, 6))


def arch_of(path: CreamPath) -> Arch:
    """A path as an arch of `Model.network`: the choices in order."""
    return tuple(chain.from_iterable(path))


def check_path(path: CreamPath) -> CreamPath:
    """Check a path and return it.

    Raises:
        InputError: names the stage that is wrong, and what was expected.
    """
    if len(path) != STAGES:
        raise InputError(f"a path has {STAGES} stages, got {len(path)}")
    for stage, choices in enumerate(path, start=1):
        if not choices or any(type(choice) is not int or choice not in range(CHOICES) for choice in choices):
            raise InputError(
                f"stage {stage} of the path is {list(choices)}, expected at least one index in 0..{CHOICES - 1}"
            )
    return path


def parse_path(text: str) -> CreamPath:
    """Read the form of the key INPUT_ARCH, such as `[[0],[3],[3,3],[3,1,3],[3,3,3,3],[3,3,3],[0]]`.

    The `[0]` at both ends stand for the fixed stages. An index always means its choice, even for a
    stage with a single block; the setting SINGLE_BLOCKS chooses `as_published` instead.

    Raises:
        InputError: the text is not a path in that form.
    """
    try:
        stages: Any = json.loads(text)
    except ValueError:
        stages = None
    if not isinstance(stages, list) or not all(isinstance(stage, list) for stage in stages):
        raise InputError(f"INPUT_ARCH is {text!r}, expected lists of indices as in [[0],[3],[3,3],[3],[3],[3],[0]]")
    if len(stages) != STAGES + 2 or stages[0] != _FIXED or stages[-1] != _FIXED:
        raise InputError(f"INPUT_ARCH is {text!r}, expected {STAGES} stages between [0] and [0]")
    try:
        return check_path(tuple(map(tuple, stages[1:-1])))
    except InputError as error:
        raise InputError(f"INPUT_ARCH is {text!r}, but {error}") from None


def format_path(path: CreamPath) -> str:
    """A path in the form of the key INPUT_ARCH; `parse_path` reads it back."""
    return json.dumps([_FIXED, *path, _FIXED], separators=(",", ":"))


def as_published(path: CreamPath) -> CreamPath:
    """The path that the public code builds from the indices that it prints.

    In the public code, a stage with a single block ignores its index and uses a template. Only so do
    the published models have their published number of parameters.
    """
    return tuple(
        (PUBLISHED.choices.index(template),) if len(choices) == 1 else choices
        for choices, template in zip(path, _TEMPLATE, strict=True)
    )


def _model(resolution: int, *stages: str) -> Model:
    return Model(as_published(tuple(tuple(map(int, stage)) for stage in stages)), resolution)


MODELS: Mapping[int, Model] = MappingProxyType(
    {
        14: _model(64, "3", "33", "33", "3", "3"),
        43: _model(96, "3", "31", "31", "333", "33"),
        114: _model(160, "3", "33", "33", "333", "33"),
        287: _model(224, "3", "33", "313", "3333", "333"),
        481: _model(224, "3431", "3230", "33311", "3333", "3333"),
        604: _model(224, "33233", "32323", "32323", "332233", "332333"),
    }
)  # by millions of multiply-adds
