"""Which object keeps a checkpoint from being read: found by its name in the pickle, without making it."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

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
