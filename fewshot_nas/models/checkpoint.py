"""Supernets in files.

A file is a dict with the keys `format`, `space`, `groups` (the split), `num_classes`, `trained_on` and `model`.
Training adds more keys, which are ignored when the supernet is read. The bare state dicts of the
competition's public solution can be read too. Only tensors and plain values are unpickled, so that a
checkpoint can never run code.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import torch
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.published import from_published, is_published
from fewshot_nas.models.subnet import Subnet, blueprint, fill
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import replacing
from fewshot_nas.space.presets import TRACK1, space_of
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.split import split_of

FORMAT = "fewshot_nas supernet 1"
SUBNET_FORMAT = "fewshot_nas subnet 1"
NOTHING: Mapping[str, Any] = MappingProxyType({})


def save_supernet(path: Path, supernet: Supernet, more: Mapping[str, Any] = NOTHING) -> None:
    """Write a supernet and more content into one file, whole or not at all.

    Args:
        more: tensors and plain values (numbers, strings, lists, dicts) by other keys.
    """
    content = {
        **more,
        "format": FORMAT,
        "space": supernet.space.values(),
        **supernet.split.values(),
        "num_classes": supernet.num_classes,
        "trained_on": dict(supernet.trained_on),
        "model": supernet.state_dict(),
    }
    with replacing(path) as stream:
        torch.save(content, stream)


def save_subnet(path: Path, subnet: Subnet, space: Space, code: str) -> None:
    """Write a subnet with its statistics and what it is, whole or not at all."""
    content = {
        "format": SUBNET_FORMAT,
        "space": space.values(),
        "arch": code,
        "num_classes": subnet.num_classes,
        "trained_on": dict(subnet.trained_on),
        "model": subnet.state_dict(),
    }
    with replacing(path) as stream:
        torch.save(content, stream)


def is_subnet(content: Mapping[Any, Any]) -> bool:
    """Whether `save_subnet` may have written it."""
    return content.get("format") == SUBNET_FORMAT


def subnet_of(path: Path, content: Mapping[Any, Any]) -> tuple[Subnet, Space, Arch]:
    """The subnet in what `read_checkpoint` read, in evaluation mode, its space and its arch.

    Raises:
        InputError: the file describes none.
    """
    try:
        space = space_of(content["space"])
        arch = space.decode(content["arch"])
        subnet = Subnet(space, arch, content["num_classes"])
        subnet.load_state_dict(content["model"])
        subnet.trained_on = dict(content.get("trained_on", {}))
    except (InputError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: does not describe a subnet ({type(error).__name__}: {reason})") from None
    return subnet.eval(), space, arch


def load_supernet(path: Path, device: torch.device | str = "cpu") -> Supernet:
    """Read a supernet from a file of this package or of the public solution.

    Raises:
        InputError: the file cannot be read, or holds no supernet; see `read_checkpoint` and `supernet_of`.
    """
    return supernet_of(path, read_checkpoint(path)).to(device)


def read_checkpoint(path: Path) -> dict[Any, Any]:
    """Read the whole content of a file into main memory: on a GPU it would be a second copy of all weights.

    Raises:
        InputError: the file is missing, damaged, or holds anything but finite tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # torch.load may raise almost anything if the file is no checkpoint
        raise InputError(
            f"{path}: cannot be read as a checkpoint of tensors and plain values ({_why(path, error)})"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a dict")
    for name, tensor in _tensors(content):
        if tensor.is_floating_point() and not tensor.is_meta and not tensor.isfinite().all():
            raise InputError(
                f"{path}: tensor {name} has values that are not finite: the file is damaged, or its training"
                " diverged; take another checkpoint, or train anew"
            )
    return content


def _tensors(content: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested dicts and lists, with their keys joined by dots."""
    if isinstance(content, Tensor):
        yield name, content
    elif isinstance(content, Mapping | list | tuple):
        for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            yield from _tensors(value, f"{name}.{key}" if name else str(key))


def _why(path: Path, error: Exception) -> str:
    """A reason without torch's advice to unpickle the file in spite of it, which would run its code."""
    if found := foreign_object(path):
        return f"{found}, which could run code; write the file without it where it comes from"
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return "it is no file of torch's, or holds other objects" if "weights_only" in str(error) else reason


def supernet_of(path: Path, content: Mapping[Any, Any]) -> Supernet:
    """The supernet in a content that `read_checkpoint` returned.

    Raises:
        InputError: names the file and the first tensor that does not fit.
    """
    try:
        supernet = from_published(content, TRACK1) if is_published(content) else _own(content)
        supernet.source = path
        return supernet
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _own(content: Mapping[Any, Any]) -> Supernet:
    if content.get("format") != FORMAT:
        raise InputError(f"format is {content.get('format')!r}, expected {FORMAT!r} or a published state dict")
    try:
        space = space_of(content["space"])
        split = split_of(space, content)
        empty = blueprint(lambda: Supernet(split, content["num_classes"]))
        found, trained_on = dict(content["model"]), dict(content.get("trained_on", {}))
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"does not describe a supernet ({type(error).__name__}: {error})") from None
    supernet = fill(empty, found, lambda name: name)
    supernet.trained_on = trained_on
    return supernet


# ---- which object keeps a file from being read: found by its name in the pickle, without making it -------------------

_TENSORS = frozenset({"torch", "torch._utils", "torch._tensor", "torch.storage", "torch.nn.parameter"})
_PLAIN = {"builtins": {"set"}, "__builtin__": {"set"}, "collections": {"Counter"}}
_PICKLES = 4  # at the beginning of a file of torch's former format: magic number, protocol, machine, content


class _Stand:
    """In the place of whatever a pickle names; takes all that unpickling does to an object, and does nothing."""

    name: str | None = None  # of what no checkpoint may hold

    def __new__(cls, *_: Any, **__: Any) -> "_Stand":
        return super().__new__(cls)

    def _nothing(self, *_: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = _nothing


class _Names(pickle.Unpickler):
    """Reads a pickle's structure. No name is looked up, so no code of the file or of its objects runs."""

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in for each class and function."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        is_known = module in _TENSORS or name in _PLAIN.get(module, ())
        return type(name, (_Stand,), {"name": None if is_known else f"{module}.{name}"})

    def persistent_load(self, what: Any) -> Any:
        """A stand-in for each tensor's values; in torch's former format a module's class comes this way too."""
        return what[1] if what[0] == "module" else _Stand()


def foreign_object(path: Path) -> str | None:
    """The first object of a checkpoint that is neither a tensor nor a plain value, with the key that holds it.

    Returns:
        None if there is none, or if the file is no checkpoint.
    """
    with suppress(Exception):  # a damaged file may raise almost anything
        if not zipfile.is_zipfile(path):
            with path.open("rb") as stream:
                return _first(stream, _PICKLES)
        with zipfile.ZipFile(path) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(member) as stream:
                return _first(stream, 1)  # type: ignore[arg-type]
    return None


def _first(stream: BinaryIO, pickles: int) -> str | None:
    for _ in range(pickles):
        for keys, name in _found(_Names(stream).load()):
            holder = f"its key {'.'.join(keys)!r}" if keys else "it"
            return f"{holder} holds an object of {name}"
    return None


def _found(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, _Stand) and value.name is not None:
        yield keys, value.name
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _found(item, (*keys, str(key)))
    elif isinstance(value, list | tuple | set):
        for number, item in enumerate(value):
            yield from _found(item, (*keys, str(number)))
