"""Networks of the space `cream`, as settings and files name them, and the published ones (arXiv:2010.15821).

A path is an arch of `MBConvSpace`, whose code is the form of the key INPUT_ARCH.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json
from fewshot_nas.space.mbconv import MBConvSpace, stages_of
from fewshot_nas.space.presets import SPACES, with_values
from fewshot_nas.space.space import Arch, immutable

STAGES = 5  # whose blocks are chosen; the first stage and the last are fixed
FULL_PX = 224  # side of the published images
OWN = -1  # the MODEL_SELECTION for your own path
FORM = "KEY=value"  # of an override
# In the public code, a stage with a single block ignores its index and has this one. Only so do the published models
# have their published number of parameters.
_TEMPLATE = (0, 2, 1, 1, 3)


@dataclass(frozen=True)
class CreamSpace:
    """What all paths have in common, and what a block may be; `MBConvSpace` says what each value is.

    Raises:
        InputError: names the value that makes no network.
    """

    stem_width: int = MBConvSpace.stem_width
    stem_stride: int = MBConvSpace.stem_stride
    widths: tuple[int, ...] = MBConvSpace.widths
    strides: tuple[int, ...] = MBConvSpace.strides
    last_width: int = MBConvSpace.last_width
    head_width: int = MBConvSpace.head_width
    kernels: tuple[int, ...] = MBConvSpace.kernels
    expansions: tuple[int, ...] = MBConvSpace.expansions

    def __post_init__(self) -> None:
        for name, length in {"widths": STAGES, "strides": STAGES, "kernels": 3, "expansions": 2}.items():
            if len(getattr(self, name)) != length:
                raise InputError(f"SPACE.{name} is {list(getattr(self, name))}, expected {length} numbers")
        try:
            self.of((1,) * STAGES, FULL_PX)
        except InputError as error:
            raise InputError(f"SPACE.{str(error).partition(': ')[2]}") from None

    def of(self, depths: Sequence[int], resolution: int, in_channels: int = 3) -> MBConvSpace:
        """The space of the networks with these numbers of blocks in the five stages."""
        given = {**vars(self), "lengths": tuple(depths), "in_channels": in_channels, "resolution": resolution}
        space = with_values(SPACES["cream"], given)
        assert isinstance(space, MBConvSpace)
        return space


PUBLISHED = CreamSpace()


class Model(NamedTuple):
    """A network: the space of the networks of its depths, whose resolution is that of its images, and its arch."""

    space: MBConvSpace
    arch: Arch

    @property
    def code(self) -> str:
        """The form of the key INPUT_ARCH."""
        return self.space.encode(self.arch)

    @property
    def resolution(self) -> int:
        return self.space.resolution

    def on(self, in_channels: int) -> MBConvSpace:
        """The space for images of so many channels."""
        return replace(self.space, in_channels=in_channels)

    def values(self) -> dict[str, Any]:
        """What files say of a network: strides and image size do not show in the shapes of its tensors."""
        space = {name: getattr(self.space, name) for name in vars(PUBLISHED)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in space.items()}
        return {"INPUT_ARCH": self.code, "resolution": self.space.resolution, "space": plain}


def model_of(code: str, resolution: int, shape: CreamSpace = PUBLISHED) -> Model:
    """The network with a code such as `[[0],[3],[3,3],[3,1,3],[3,3,3,3],[3,3,3],[0]]`.

    The `[0]` at both ends stand for the fixed stages. An index always means its choice, even for a stage with a
    single block; the setting SINGLE_BLOCKS chooses `as_published` instead.

    Raises:
        InputError: the text is not a path in that form.
    """
    try:
        depths = tuple(map(len, stages_of(code)))
        if len(depths) != STAGES:
            raise InputError(f"code {code!r} has {len(depths)} stages, expected {STAGES} stages between [0] and [0]")
        space = shape.of(depths, resolution)
        return Model(space, space.decode(code))
    except InputError as error:
        raise InputError(f"INPUT_ARCH: {error}") from None


def as_published(model: Model) -> Model:
    """The network that the public code builds from the indices that it prints."""
    stages = zip(model.space.by_stage(model.arch), _TEMPLATE, strict=True)
    chosen = ((template,) if len(choices) == 1 else choices for choices, template in stages)
    return model._replace(arch=tuple(chain.from_iterable(chosen)))


def _published(resolution: int, *stages: str) -> Model:
    path = [[0], *(list(map(int, stage)) for stage in stages), [0]]
    return as_published(model_of(json.dumps(path), resolution))


MODELS: Mapping[int, Model] = MappingProxyType(
    {
        14: _published(64, "3", "33", "33", "3", "3"),
        43: _published(96, "3", "31", "31", "333", "33"),
        114: _published(160, "3", "33", "33", "333", "33"),
        287: _published(224, "3", "33", "313", "3333", "333"),
        481: _published(224, "3431", "3230", "33311", "3333", "3333"),
        604: _published(224, "33233", "32323", "32323", "332233", "332333"),
    }
)  # by millions of multiply-adds


def add_path_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from_search", type=Path, metavar="FILE", help="take path, image size and space from path.json of a search"
    )


def path_overrides(file: Path | None, overrides: Sequence[str]) -> list[str]:
    """The overrides that select a found path, followed by the user's.

    Raises:
        InputError: the file is not the result of a search, or the user's overrides select another model.
    """
    if file is None:
        return list(overrides)
    for override in overrides:
        if override.partition("=")[0] in ("MODEL_SELECTION", "INPUT_ARCH", "SINGLE_BLOCKS"):
            raise InputError(f"{override!r} and --from_search both select a model, expected only one of them")
    values = read_model(file).values()
    chosen = [f"MODEL_SELECTION={OWN}", f"INPUT_ARCH={values['INPUT_ARCH']}", f"IMAGE_SIZE={values['resolution']}"]
    chosen += [f"SPACE.{name}={json.dumps(value)}" for name, value in values["space"].items()]
    return [*chosen, *overrides]


def read_model(file: Path) -> Model:
    """Read the network from a file with its `Model.values`, such as a search's path.json.

    Raises:
        InputError: the file does not have this form.
    """
    content = read_json(file)
    try:
        space = CreamSpace(**{name: immutable(value) for name, value in content.get("space", {}).items()})
        return model_of(content["INPUT_ARCH"], int(content["resolution"]), space)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{file}: is not the result of a search, expected INPUT_ARCH and resolution") from None
