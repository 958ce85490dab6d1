"""The spaces that have names, and how a space is read from a file. A space of your own is named by `module:name`."""

import dataclasses
import random
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from types import MappingProxyType
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import is_outside, named_part
from fewshot_nas.space.block import Block
from fewshot_nas.space.macro import MacroSpace
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.mobilenet import MobileNetSpace
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.space import STEM, Space, changed, immutable, preset_of, random_arch

_TRIED = 20  # archs of a space of your own, before it is used

KINDS: Mapping[str, type[Space]] = MappingProxyType(
    {kind.kind: kind for kind in (ResNetSpace, MobileNetSpace, MacroSpace, MBConvSpace)}
)

_PIXELS = ResNetSpace(
    name="px28",
    base_widths=(8, 16, 32, 64),
    ratios=(1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4),
    divisor=1,
    strides=(1, 2, 2, 2),
    stem_kernel=3,
    stem_stride=1,
    stem_pool=False,
    in_channels=1,
    resolution=28,
)
TRACK1 = ResNetSpace(
    name="track1",
    base_widths=(64, 128, 256, 512),
    ratios=(1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7),
    divisor=8,
    strides=(1, 2, 2, 2),
    stem_kernel=7,
    stem_stride=2,
    stem_pool=True,
    in_channels=3,
    resolution=224,
)
_EIGHTHS = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)
# The ResNets for CIFAR (arXiv:1512.03385): 3, 5 and 9 blocks per stage give ResNet-20, -32 and -56.
_CIFAR = ResNetSpace(
    name="cifar",
    base_widths=(16, 32, 64),
    ratios=_EIGHTHS,
    divisor=1,
    strides=(1, 2, 2),
    stem_kernel=3,
    stem_stride=1,
    stem_pool=False,
    in_channels=3,
    resolution=32,
    pool_digits=(7, 7, 7),
    depths=((2, 9), (2, 9), (2, 9)),
)
# The three spaces of published truths on CIFAR-10: a channel benchmark's ResNets and MobileNets, and NAS-Bench-Macro
# (arXiv:2103.11922). Each has a sibling of a quarter of the widths, whose supernet trains on a laptop.
_CHANNELS = ResNetSpace(
    name="channel_resnet",
    base_widths=(256, 512),
    ratios=(1.0, 0.75, 0.5, 0.25),
    divisor=1,
    strides=(1, 2),
    stem_kernel=3,
    stem_stride=2,
    stem_pool=False,
    in_channels=3,
    resolution=32,
    pool_digits=(4, 4),
    depths=((2, 2), (3, 3)),
    projects=False,
    codes="widths",
)
_MOBILE, _MACRO = MobileNetSpace("channel_mobilenet"), MacroSpace("macro")

SPACES: Mapping[str, Space] = MappingProxyType(
    {
        space.name: space
        for space in (
            TRACK1,
            _PIXELS,
            dataclasses.replace(_PIXELS, name="px8", strides=(1, 1, 2, 2), resolution=8),
            _CIFAR,
            # ResNet-50 has the depths 3, 4, 6, 3 and all digits 1.
            dataclasses.replace(
                TRACK1,
                name="resnet50",
                base_widths=(256, 512, 1024, 2048),
                ratios=_EIGHTHS,
                pool_digits=(7, 7, 7, 7),
                depths=((2, 4), (2, 5), (2, 8), (2, 4)),
                block="bottleneck",
            ),
            _CHANNELS,
            dataclasses.replace(_CHANNELS, name="channel_resnet_quarter", base_widths=(64, 128)),
            _MOBILE,
            dataclasses.replace(
                _MOBILE,
                name="channel_mobilenet_quarter",
                out_widths=(32, 64),
                mid_widths=((192, 192), (192, 384)),
                last_width=256,
            ),
            _MACRO,
            dataclasses.replace(_MACRO, name="macro_quarter", stem_width=8, widths=(16, 32, 64), last_width=320),
            MBConvSpace("cream"),  # the paths of Cream of the Crop (arXiv:2010.15821)
        )
    }
)


def preset(name: str) -> Space:
    """The space of this name, or a space of your own by `module:name`, a `Space` or a function that makes one.

    Raises:
        InputError: there is none, or the blocks of your own do not fit together.
    """
    if name in SPACES:
        return SPACES[name]
    if not is_outside(name):
        raise InputError(f"space.preset is {name!r}, expected one of {', '.join(sorted(SPACES))}, or module:name")
    found: Any = named_part(name, {}, "space.preset")
    try:
        space = found if isinstance(found, Space) else found()
    except TypeError as error:
        raise InputError(f"space.preset is {name!r}, which makes no Space ({error})") from None
    if not isinstance(space, Space):
        raise InputError(f"space.preset is {name!r}, which is no Space")
    # Files hold the name, by which the space is found again.
    space = dataclasses.replace(space, name=name)
    for reason in islice(chain(_misnamed(space), _misfits(space)), 1):
        space.refuse(reason)
    return space


def _misnamed(space: Space) -> Iterator[str]:
    """What is wrong with the slots and the places of a space."""
    names, stages = [slot.name for slot in space.slots], sorted({place.stage for place in space.places})
    if len({*names}) < len(names):
        yield f"slots are named {', '.join(names)}, expected a name of its own for each"
    for slot in space.slots if type(space).encode is Space.encode else ():
        if not {*slot.options} <= {*range(10)}:
            yield f"slot {slot.name} has the options {slot.options}, but a code has one digit for each slot"
    if space.places[0].stage != STEM or stages != list(range(STEM, stages[-1] + 1)):
        yield f"places have the stages {stages}, expected {STEM} of the stem, which comes first, then 0, 1, ..."
    for place in space.places:
        if not {*place.reads} <= {*range(len(names))}:
            yield f"{place} reads a slot that is not there; there are {len(names)}, counted from 0"


def _misfits(space: Space) -> Iterator[str]:
    """What does not fit together in some archs of a space."""
    rng = random.Random(0)
    for arch in (space.largest, space.smallest, *(random_arch(space, rng) for _ in range(_TRIED))):
        channels, code = space.in_channels, space.encode(arch)
        for place, block in space.blocks(arch):
            where = f"arch {code}, place {place} (stage {space.places[place].stage}):"
            if block != space.block_at(place, arch):
                yield f"{where} the block depends on a slot that is not among the place's `reads`"
            yield from (f"{where} {reason}" for reason in _misfits_of(block, channels))
            channels = block.out
        if (wanted := space.head(arch).inputs) != channels:
            yield f"arch {code}: the head takes {wanted} channels, but gets {channels}"


def _misfits_of(block: Block, channels: int) -> Iterator[str]:
    before, stride = channels, max(op.stride for op in block.main)
    for op in block.main:
        if op.inputs != before:
            yield f"a convolution takes {op.inputs} channels, but gets {before}"
        if op.kernel % 2 == 0 or op.groups not in (1, op.inputs):
            yield f"{op} is none of ours, which have odd kernels, and 1 group or one for each channel"
        before = op.out
    if block.shortcut == () and (block.out != channels or stride > 1):
        yield "the shortcut is the identity, but the block changes the number of channels or the side"
    for op in block.shortcut or ():
        if (op.inputs, op.out, op.stride) != (channels, block.out, stride):
            yield f"the shortcut is {op}, expected the inputs, outputs and stride of the main path"


def with_values(space: Space, given: Mapping[str, Any]) -> Space:
    """A preset with replaced values. Its name says so if that changed anything.

    Raises:
        InputError: the space has no such value, or the values make no space.
    """
    fields = {field.name for field in dataclasses.fields(space)} - {"name"}
    for name in given:
        if name not in fields:
            raise InputError(f"space.{name} does not exist for {space.name}, which has {', '.join(sorted(fields))}")
    replaced = dataclasses.replace(space, **given)
    if replaced == space:
        return space
    return dataclasses.replace(replaced, name=changed(space.name))


def space_of(values: Mapping[str, Any]) -> Space:
    """The space that `Space.values` described.

    Raises:
        InputError: the values do not describe a space.
        AttributeError, KeyError, TypeError: they do not have the form of such values.
    """
    given = {key: immutable(value) for key, value in values.items()}
    kind, name = given.pop("kind"), given["name"]
    if is_outside(preset_of(name)):
        return with_values(preset(preset_of(name)), {key: each for key, each in given.items() if key != "name"})
    if kind not in KINDS:
        raise InputError(f"the kind of the space is {kind!r}, expected one of {', '.join(KINDS)}")
    return KINDS[kind](**given)
