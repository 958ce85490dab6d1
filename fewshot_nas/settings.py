"""Reading settings: dataclasses are filled from one YAML file and overrides, and every value is checked.

The dataclasses, whose fields are values or sections, are defined elsewhere.
"""

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from fewshot_nas.errors import InputError
from fewshot_nas.plugins import is_outside

T = TypeVar("T")


@dataclass(frozen=True)
class Within:
    """Bounds of a number: at least `low`, less than `below`. Numbers without bounds are at least 0."""

    low: int = 0
    below: float = math.inf


@dataclass(frozen=True)
class Part:
    """The names of this package's parts; `module:name` selects a part of your own instead."""

    names: tuple[str, ...]


Count = Annotated[int, Within(low=1)]
Share = Annotated[float, Within(below=1)]


def load(kind: type[T], path: Path | None = None, overrides: Sequence[str] = (), also: Sequence[type] = ()) -> T:
    """The settings: defaults, replaced by the file's, replaced by `section.key=value`, or by `KEY=value`.

    Args:
        also: other kinds of settings that the file may hold; they are checked and left out.

    Raises:
        InputError: names the unknown key, or the value of a wrong type or out of range.
    """
    return build(kind, _merged(kind, path, overrides, also), "")


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """An instance of a dataclass from nested mappings; each value is checked against its type.

    Args:
        where: prefix of a key's name in messages, such as `configs/digits.yml: `.
    """
    hints = get_type_hints(kind, include_extras=True)
    for key in values:
        if key not in hints:
            raise InputError(f"{where}{key} is not a setting, expected one of {', '.join(hints)}")
    return kind(**{key: _convert(hints[key], value, f"{where}{key}") for key, value in values.items()})


def _merged(kind: type, path: Path | None, overrides: Sequence[str], also: Sequence[type]) -> dict[str, Any]:
    values = _read_yaml(path) if path else {}
    for other in also:
        values = _without(values, kind, other, f"{path}: ")
    build(kind, values, f"{path}: ")  # so that the message for a mistake in the file names the file
    has_keys = not all(map(dataclasses.is_dataclass, get_type_hints(kind).values()))
    for override in overrides:
        name, equals, text = override.partition("=")
        section, dot, key = name.partition(".")
        if equals and dot and key:
            before = values.get(section)
            values[section] = {**(before if isinstance(before, Mapping) else {}), key: _parse(text, override)}
        elif equals and name and not dot and has_keys:
            values[name] = _parse(text, override)
        else:
            form = "KEY=value or section.key=value" if has_keys else "section.key=value"
            raise InputError(f"{override!r} is not an override, expected {form}")
    return values


def _without(values: Mapping[str, Any], kind: Any, other: Any, where: str) -> dict[str, Any]:
    """The values without those that only the other kind of settings has, which are checked."""
    mine, theirs = (get_type_hints(each, include_extras=True) for each in (kind, other))
    kept: dict[str, Any] = {}
    for key, value in values.items():
        both = key in mine and key in theirs and dataclasses.is_dataclass(mine[key])
        if both and isinstance(value, Mapping):
            kept[key] = _without(value, mine[key], theirs[key], f"{where}{key}.")
        elif key in mine or key not in theirs:
            kept[key] = value
        else:
            _convert(theirs[key], value, f"{where}{key}")
    return kept


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = _parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected sections such as `data:`, got {type(values).__name__}")
    return values


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is {value!r}, expected a section with keys")
        return build(hint, value, f"{where}.")  # type: ignore[arg-type]
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        inner, nothing = get_args(hint)
        assert nothing is type(None)
        return None if value is None else _convert(inner, value, where)
    if origin is Literal:
        if value not in get_args(hint):
            raise InputError(f"{where} is {value!r}, expected one of {', '.join(map(str, get_args(hint)))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} is {value!r}, expected a list such as [1, 2]")
        return tuple(_convert(get_args(hint)[0], item, where) for item in value)
    if origin is Annotated:
        kind, bounds = get_args(hint)
        if isinstance(bounds, Part):
            return _part(bounds, value, where)
        return _scalar(kind, value, where, bounds)
    return _scalar(hint, value, where, Within())


def _part(known: Part, value: Any, where: str) -> str:
    if isinstance(value, str) and (value in known.names or is_outside(value)):
        return value
    raise InputError(f"{where} is {value!r}, expected one of {', '.join(known.names)}, or module:name for your own")


def _scalar(kind: type, value: Any, where: str, bounds: Within) -> Any:
    converted = _as(kind, value)
    in_range = not isinstance(converted, int | float) or bounds.low <= converted < bounds.below
    if converted is None or not in_range:
        raise InputError(f"{where} is {value!r}, expected {_wording(kind, bounds)}")
    return converted


def _as(kind: type, value: Any) -> Any:
    """The value converted to the type; None if that is impossible."""
    if kind is float and isinstance(value, str):
        # YAML 1.1 reads 1e-4 as a string, because it has no decimal point.
        try:
            return float(value)
        except ValueError:
            return None
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and type(value) is int:
        return float(value)
    return value if type(value) is kind else None


def _wording(kind: type, bounds: Within) -> str:
    if kind not in (int, float):
        return {bool: "true or false", str: "a word", Path: "a path"}[kind]
    name = "a whole number" if kind is int else "a number"
    return f"{name} >= {bounds.low}" + (f" and < {bounds.below}" if bounds.below < math.inf else "")
