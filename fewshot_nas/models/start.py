"""Weights to start from: a ResNet of torchvision's or timm's, a supernet, or a single network, fitted to a space.

All of them become a supernet, of which a single network takes its part. A ResNet's channels are sorted by importance
first, as in once-for-all (arXiv:1908.09791), so that leading channels, which narrow subnets take, are the important
ones. Sorting changes no function, because what writes channels and what reads them are sorted alike.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.checkpoint import is_subnet, read_checkpoint, subnet_of, supernet_of
from fewshot_nas.models.subnet import Subnet, extract
from fewshot_nas.models.supernet import Supernet, part
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.space import STEM, Arch, Space
from fewshot_nas.space.split import Home, one_shot

_STEM, _HEAD = f"{STEM}.0", "head"
_BLOCK = re.compile(r"layer([1-9]\d*)\.(\d+)\.(?:(conv|bn)([1-9])|downsample\.([01]))")
_STATISTICS = ("running_mean", "running_var")
_DIMENSIONS = {"conv": 4, "norm": 1, "linear": 2}

Tensors = dict[str, Tensor]
Held = tuple[Subnet, Space, Arch] | Supernet | dict[str, Any]  # a network with its space and arch, or a ResNet's state


@dataclass(frozen=True)
class Start:
    """Weights to start from, in a supernet of the run's space and classes.

    Attributes:
        statistics: of the norms, by home and the tensor's name there; empty if the file has none.
        said: what became of the file, in one line.
    """

    supernet: Supernet
    statistics: Mapping[tuple[Home, str], Tensor]
    said: str

    def subnet(self, arch: Arch) -> Subnet:
        """A copy of one subnet, in training mode, with its part of the file's statistics where there are some."""
        subnet = extract(self.supernet, arch)
        for placed, block in zip(self.supernet.split.network(arch), subnet.blocks, strict=True):
            for name, buffer in block.named_buffers():
                if (tensor := self.statistics.get((placed.home, name))) is not None and len(tensor) >= len(buffer):
                    buffer.copy_(part(tensor, *buffer.shape))
        return subnet


class _Found(NamedTuple):
    """The network in a file.

    Attributes:
        tensors: by stage (from 0; the stem's is -1), position in it and name in a block, such as
            `2.0.main.1.conv.weight`; and `head.linear.bias`.
        arch: the arch of the run's space whose blocks they are.
        sorts: whether its channels may be sorted.
    """

    what: str
    tensors: Tensors
    arch: Arch
    trained_on: Mapping[str, Any]
    sorts: bool


def read_start(path: Path, space: Space, trained_on: Mapping[str, Any]) -> Start:
    """Fit the weights of a file to a space. Weights that the file lacks are drawn by torch's generator.

    Widths and depths may differ: leading channels and first blocks count, and blocks that the file lacks begin as
    identity. A stem with kernels of another shape begins anew, and so does the classifier of other classes.

    Args:
        trained_on: facts about the images to come, see `Supernet`: `num_classes` and, where known, `classes`.

    Raises:
        InputError: names the file and what does not fit.

    >>> import tempfile, torchvision
    >>> from fewshot_nas.space.presets import SPACES
    >>> path = Path(tempfile.mkdtemp()) / "resnet18.pth"
    >>> torch.save(torchvision.models.resnet18().state_dict(), path)
    >>> read_start(path, SPACES["track1"], {"num_classes": 7}).said.split("; ")[-2:]
    ['channels are sorted by importance', 'the classifier is new, for 7 classes in place of 1000']
    """
    held = read_held(path)
    try:
        if isinstance(held, Supernet):
            if _alike(held.space, space):
                return _taken_over(path, held, space, trained_on)
            theirs, arch = held.space, held.space.largest
            tensors = _without(_tensors(extract(held, arch), theirs, arch), _STATISTICS)
            what = f"the largest network of a supernet of space {theirs.name}"
            found = _Found(what, tensors, space.largest, held.trained_on, sorts=False)
        elif isinstance(held, tuple):
            subnet, theirs, arch = held
            what, ours = f"a network of space {theirs.name}", arch if _alike(theirs, space) else space.largest
            found = _Found(what, _tensors(subnet, theirs, arch), ours, subnet.trained_on, sorts=True)
        else:
            found = _Found("a ResNet", _of_blocks(_renamed(held), space), space.largest, {}, sorts=True)
        return _fitted(path, found, space, trained_on)
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def read_held(path: Path) -> Held:
    """What a file holds: a single network with its space and its arch, a supernet, or the state dict of a ResNet.

    Raises:
        InputError: the file cannot be read, or holds none of these.
    """
    content = read_checkpoint(path)
    if is_subnet(content):
        return subnet_of(path, content)
    return state if (state := _resnet_state(content)) is not None else supernet_of(path, content)


def _alike(one: Space, other: Space) -> bool:
    return replace(one, name=other.name, resolution=other.resolution) == other


def _without(tensors: Mapping[str, Tensor], ends: tuple[str, ...]) -> Tensors:
    return {name: each for name, each in tensors.items() if not name.endswith(ends)}


# ---- files in our names ----------------------------------------------------------------------------------------------


def _resnet_state(content: Mapping[Any, Any]) -> dict[str, Any] | None:
    """The state dict of a ResNet in a file that is one, or that holds one as training scripts write it."""
    for state in (content, content.get("state_dict"), content.get("model")):
        if isinstance(state, Mapping):
            named = {str(key).removeprefix("module."): value for key, value in state.items()}
            if "layer1.0.conv1.weight" in named:
                return named
    return None


def _renamed(state: Mapping[str, Any]) -> Tensors:
    """A ResNet's tensors in our names."""
    found = {}
    for key, tensor in state.items():
        unit, _, name = key.rpartition(".")
        if name == "num_batches_tracked":
            continue
        if unit == "fc":
            layer, block = "linear", _HEAD
        elif unit in ("conv1", "bn1"):
            layer, block = "conv" if unit == "conv1" else "norm", f"{_STEM}.main.0"
        elif match := _BLOCK.fullmatch(unit):
            stage, position, kind, number, projection = match.groups()
            layer = "conv" if kind == "conv" or projection == "0" else "norm"
            path = f"main.{int(number) - 1}" if number else "shortcut.0"
            block = f"{int(stage) - 1}.{position}.{path}"
        else:
            raise InputError(f"tensor {key!r} is none that the ResNets of torchvision and timm have in common")
        dimensions = _DIMENSIONS[layer] if name == "weight" else 1
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.dim() != dimensions:
            raise InputError(f"{key!r} is no tensor of floating point numbers with {dimensions} dimensions")
        found[f"{block}.{layer}.{name}"] = tensor
    return found


def _of_blocks(tensors: Tensors, space: Space) -> Tensors:
    """A ResNet's tensors, if the space has the same kind of blocks."""
    kind, preset = ("bottleneck", "resnet50") if "0.0.main.2.conv.weight" in tensors else ("basic", "track1")
    if isinstance(space, ResNetSpace) and space.block != kind:
        raise InputError(
            f"has {kind} blocks, but those of space {space.name} are {space.block} ones; give a space that has them,"
            f" such as space.preset={preset}"
        )
    return tensors


def _tensors(subnet: Subnet, space: Space, arch: Arch) -> Tensors:
    """A network's tensors in the names of `_Found`."""
    spots, found = _spots(space), Tensors()
    for (place, _), block in zip(space.blocks(arch), subnet.blocks, strict=True):
        found |= {f"{spots[place]}.{name}": each for name, each in block.state_dict().items()}
    found |= {f"{_HEAD}.{name}": each for name, each in subnet.head.state_dict().items()}
    return _without(found, ("num_batches_tracked",))


def _spots(space: Space) -> list[str]:
    """Stage and position of each place."""
    passed: Counter[int] = Counter()
    spots = []
    for place in space.places:
        spots.append(f"{place.stage}.{passed[place.stage]}")
        passed[place.stage] += 1
    return spots


def _by_block(tensors: Tensors) -> dict[str, Tensors]:
    """The tensors of each spot, and of the head."""
    found: dict[str, Tensors] = {}
    for key, tensor in tensors.items():
        spot, name = re.fullmatch(r"(head|-?\d+\.\d+)\.(.*)", key).groups()  # type: ignore[union-attr]
        found.setdefault(spot, {})[name] = tensor
    return found


# ---- channels in the order of importance -----------------------------------------------------------------------------


def _sorted(tensors: Tensors) -> Tensors:
    """The same function, with the most important channels first.

    The importance of a channel is the L1 norm of the weights that read it, summed over all layers that do.
    """
    tensors = dict(tensors)
    for writers, readers in _streams(tensors):
        written = [name for name in tensors for writer in writers if name.startswith(f"{writer}.")]
        read = [f"{reader}.weight" for reader in readers]
        if len({len(tensors[name]) for name in written} | {tensors[name].shape[1] for name in read}) > 1:
            raise InputError(f"{written[0]} and {read[0]} differ in channels, expected a ResNet without groups")
        norms = [tensors[name].detach().abs().transpose(0, 1).flatten(1).sum(1) for name in read]
        order = torch.stack(norms).sum(0).argsort(descending=True, stable=True)
        tensors |= {name: tensors[name][order] for name in written}
        tensors |= {name: tensors[name][:, order] for name in read}
    return tensors


def _streams(tensors: Tensors) -> Iterator[tuple[list[str], list[str]]]:
    """For each set of channels that have one order, the layers that write them and the weights that read them.

    Inside a block each convolution feeds the next one. All blocks that identities join share an order.
    """
    writers, readers = list[str](), list[str]()
    blocks = {spot: each for spot, each in _by_block(tensors).items() if spot != _HEAD}
    for spot in sorted(blocks, key=lambda spot: tuple(map(int, spot.split(".")))):
        layers = sorted(f"{spot}.{name.removesuffix('.conv.weight')}" for name in blocks[spot] if ".conv." in name)
        main, shortcut = ([layer for layer in layers if path in layer] for path in (".main.", ".shortcut."))
        if not main:
            raise InputError(f"block {spot} has no convolution")
        if writers:  # else it is the stem
            readers += [f"{layer}.conv" for layer in (main[0], *shortcut)]
            width, before = (len(tensors[f"{layer}.conv.weight"]) for layer in (main[-1], writers[-1]))
            if shortcut or width != before:
                yield writers, readers
                writers, readers = shortcut, []
        yield from (([one], [f"{other}.conv"]) for one, other in pairwise(main))
        writers = [*writers, main[-1]]
    readers += [f"{_HEAD}.{name}" for name in ("hidden", "linear") if f"{_HEAD}.{name}.weight" in tensors][:1]
    if readers:
        yield writers, readers


# ---- fitted to the space ---------------------------------------------------------------------------------------------


def _fitted(path: Path, found: _Found, space: Space, trained_on: Mapping[str, Any]) -> Start:
    sorts = found.sorts and isinstance(space, ResNetSpace)
    blocks = _by_block(_sorted(found.tensors) if sorts else found.tensors)
    stages = 1 + max(int(spot.partition(".")[0]) for spot in blocks if spot != _HEAD)
    if stages != space.stages:
        raise InputError(f"has {stages} stages, but space {space.name} has {space.stages}")
    supernet = Supernet(one_shot(space), trained_on["num_classes"])
    said, notes = [f"starts from {path}, {found.what}"], Counter[str]()
    statistics, spots = dict[tuple[Home, str], Tensor](), _spots(space)
    for placed in supernet.split.network(found.arch):
        spot = spots[placed.home[0]]
        own: Tensors = dict(supernet.stored(placed.home).named_parameters())
        theirs = blocks.pop(spot, {})
        if not theirs and placed.block.shortcut == ():
            notes["blocks that the file lacks, which begin as identity"] += 1
            continue
        if spot == _STEM and (kernels := _other_kernels(own, theirs)):
            said.append(f"the stem is new, because {kernels}")
            continue
        if not placed.block.shortcut:  # of narrower or wider archs at the same place
            own = {name: each for name, each in own.items() if name.startswith("main.")}
        statistics |= {(placed.home, name): theirs.pop(name) for name in list(theirs) if name.endswith(_STATISTICS)}
        notes["tensors of other widths than the space's largest, of which leading channels count"] += _copy(
            own, theirs, spot
        )
    head = blocks.pop(_HEAD, {})
    classes = len(head["linear.bias"]) if "linear.bias" in head else None
    new, classifier = _classifier(classes, found.trained_on, trained_on)
    own, theirs = (
        {name: each for name, each in mine.items() if not (new and name.startswith("linear."))}
        for mine in (dict(supernet.stored(supernet.split.head(found.arch)[1]).named_parameters()), head)
    )
    _copy(own, theirs, "the head")
    notes["blocks left out, for which the space has no place"] += len(blocks)
    said += [*(f"{note}: {count}" for note, count in notes.items() if count)]
    said += ["channels are sorted by importance"] * sorts
    return Start(supernet, statistics, "; ".join([*said, classifier]))


def _other_kernels(own: Mapping[str, Tensor], theirs: Tensors) -> str:
    """What differs between two stems beside their widths, in words; empty if nothing does."""
    ours, given = (list(stem["main.0.conv.weight"].shape[1:]) if stem else [] for stem in (own, theirs))
    return "" if ours == given else f"its kernels are {given} in the file and {ours} in the space"


@torch.no_grad()
def _copy(own: Mapping[str, Tensor], theirs: Tensors, where: str) -> int:
    """Copy the channels that both have. Returns how many tensors differ in width."""
    if odd := sorted(own.keys() ^ theirs.keys()):
        raise InputError(f"block {where} {'lacks' if odd[0] in own else 'has'} the tensor {odd[0]}, unlike the space's")
    for name, ours in own.items():
        sizes = [min(each) for each in zip(ours.shape, theirs[name].shape, strict=False)]
        if theirs[name].dim() != ours.dim() or theirs[name].shape[2:] != ours.shape[2:]:
            shapes = f"has shape {list(theirs[name].shape)}, but the space's has {list(ours.shape)}"
            raise InputError(f"block {where}: {name} {shapes}")
        part(ours, *sizes).copy_(part(theirs[name], *sizes))
    return sum(theirs[name].shape != ours.shape for name, ours in own.items())


def _taken_over(path: Path, parent: Supernet, space: Space, trained_on: Mapping[str, Any]) -> Start:
    """A supernet of the same space with its groups, but for the classifier of other classes."""
    supernet = Supernet(replace(parent.split, space=space), trained_on["num_classes"])
    new, classifier = _classifier(parent.num_classes, parent.trained_on, trained_on)
    state = {name: each for name, each in parent.state_dict().items() if not (new and ".linear." in name)}
    supernet.load_state_dict(state, strict=False)
    return Start(supernet, {}, f"starts from {path}, a supernet of this space; {classifier}")


def _classifier(classes: int | None, before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the classifier is new, and why. It is kept for as many classes whose names, where known, are the same."""
    wanted = now["num_classes"]
    if classes != wanted:
        return True, f"the classifier is new, for {wanted} classes" + (f" in place of {classes}" if classes else "")
    key = next((key for key in ("classes", "name") if key in before and key in now), None)
    if key is None:
        return False, f"the classifier of {classes} classes is kept; the file does not say which they are"
    if list(before[key]) != list(now[key]):
        return True, "the classifier is new, because the classes are others"
    return False, "the classifier is kept"
