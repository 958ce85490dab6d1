"""Reading settings: dataclasses are filled from one YAML file and overrides, and every value is checked.

The dataclasses, whose fields are values or sections, are defined elsewhere.
"""

import dataclasses
import math
import re
import reprlib
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import is_outside
from fewshot_nas.cli.yaml_text import Plain, read_yaml

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


@dataclass(frozen=True)
class Free:
    """The mark of a setting that changes what a run costs, or where a file is, but not the result.

    A run goes on with another value of it; all other settings are compared.
    """


FREE = Free()
Count = Annotated[int, Within(low=1)]
Share = Annotated[float, Within(below=1)]

# Decimal digits, as they are usually written: no 0x10, 1_000, 1:30 or 064.
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH = {"true": True, "True": True, "false": False, "False": False}
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80


class Given(str):
    """A value on the command line. A path or a word is taken as it is; anything else is read as YAML."""

    __slots__ = ()


def load(
    kind: type[T],
    path: Path | None = None,
    overrides: Sequence[str] = (),
    also: Sequence[type] = (),
    foreign: Callable[[str], bool] = lambda key: False,
) -> T:
    """The settings: defaults, replaced by the file's, replaced by `section.key=value`, or by `KEY=value`.

    Args:
        also: other kinds of settings that the file may hold; they are checked and left out.
        foreign: says which keys of the file are another program's; they are left out unchecked.

    Raises:
        InputError: names the unknown key, or the value of a wrong type or out of range.
    """
    values = {key: value for key, value in (_read_file(path) if path else {}).items() if not foreign(str(key))}
    return build(kind, _merged(kind, values, path, overrides, also), "")


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


def read_scalar(kind: type[T], text: str) -> T:
    """A number or a path from a command line, by the rules of settings.

    Raises:
        ValueError: the text is none.
    """
    value = _as(kind, Plain(text))
    if value is None:
        raise ValueError(text)
    return value  # type: ignore[no-any-return]


def is_free(hint: Any) -> bool:
    """Whether a field with this type hint has the mark `FREE`."""
    return FREE in getattr(hint, "__metadata__", ())


def compared(settings: Any) -> dict[str, Any]:
    """The settings that a result depends on, by key: all that are not free to change."""
    hints = get_type_hints(type(settings), include_extras=True)
    values = {key: getattr(settings, key) for key, hint in hints.items() if not is_free(hint)}
    return {key: compared(value) if dataclasses.is_dataclass(value) else value for key, value in values.items()}


def _merged(
    kind: type, values: dict[str, Any], path: Path | None, overrides: Sequence[str], also: Sequence[type]
) -> dict[str, Any]:
    for other in also:
        values = _without(values, kind, other, f"{path}: ")
    build(kind, values, f"{path}: ")  # so that the message for a mistake in the file names the file
    has_keys = not all(map(dataclasses.is_dataclass, get_type_hints(kind).values()))
    for override in overrides:
        name, equals, text = override.partition("=")
        section, dot, key = name.partition(".")
        if equals and dot and key:
            before = values.get(section)
            values[section] = {**(before if isinstance(before, Mapping) else {}), key: Given(text)}
        elif equals and name and not dot and has_keys:
            values[name] = read_yaml(text, override) if text.startswith("{") else Given(text)
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


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    values = read_yaml(text, str(path))
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected sections such as `data:`, got {_REPR.repr(values)}")
    return values


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is {_REPR.repr(value)}, expected a section with keys")
        return build(hint, value, f"{where}.")  # type: ignore[arg-type]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner, nothing = arguments
        assert nothing is type(None)
        return None if value is None or _stands_for_nothing(value, inner) else _convert(inner, value, where)
    if origin is Annotated:
        return _annotated(hint, value, where)
    if isinstance(value, Given):
        is_structure = hint not in (str, Path) and value[:1] in ("[", "{")
        value = read_yaml(value, f"{where}={value}") if is_structure else _unquoted(value)
    if origin is Literal:
        return _one_of(arguments, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} is {_REPR.repr(value)}, expected a list such as [1, 2]")
        return tuple(_convert(arguments[0], item, where) for item in value)
    return _scalar(hint, value, where, Within())


def _annotated(hint: Any, value: Any, where: str) -> Any:
    kind, *notes = get_args(hint)
    for note in notes:
        if isinstance(note, Part):
            return _part(note, _unquoted(value), where)
        if isinstance(note, Within):
            return _scalar(kind, value, where, note)
    return _convert(kind, value, where)


def _one_of(known: Sequence[Any], value: Any, where: str) -> Any:
    for each in known:
        if _as(type(each), value) == each:
            return each
    raise InputError(f"{where} is {_REPR.repr(value)}, expected one of {', '.join(map(str, known))}")


def _stands_for_nothing(value: Any, hint: Any) -> bool:
    """Whether a text means that there is no value; `~` as a path is the home directory."""
    is_text = isinstance(value, Plain | Given)
    return is_text and value in _NOTHING and not (hint is Path and value == "~")


def _unquoted(value: Any) -> Any:
    """A value of the command line without quotes, `Plain` if it had none; other values as they are."""
    if not isinstance(value, Given):
        return value
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return str(value[1:-1]) if quoted else Plain(value)


def _part(known: Part, value: Any, where: str) -> str:
    if isinstance(value, str) and (value in known.names or is_outside(value)):
        return str(value)
    raise InputError(
        f"{where} is {_REPR.repr(value)}, expected one of {', '.join(known.names)}, or module:name for your own"
    )


def _scalar(kind: type, value: Any, where: str, bounds: Within) -> Any:
    value = _unquoted(value)
    converted = _as(kind, value)
    in_range = not isinstance(converted, int | float) or bounds.low <= converted < bounds.below
    if converted is None or not in_range:
        raise InputError(f"{where} is {_REPR.repr(value)}, expected {_wording(kind, bounds)}")
    return converted


def _as(kind: type, value: Any) -> Any:
    """The value converted to the type; None if that is impossible."""
    if kind is Path:
        return _path(value)
    if isinstance(value, str) and kind is str:
        return None if isinstance(value, Plain) and not value else str(value)
    if isinstance(value, Plain):
        if kind is bool:
            return _TRUTH.get(value)
        form = _WHOLE if kind is int else _NUMBER
        return kind(value) if form.fullmatch(value) else None
    if kind is float and type(value) is int:
        return float(value)
    return value if type(value) is kind else None


def _path(value: Any) -> Path | None:
    """The text as it is, but for a leading `~`, the home directory."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return None
    try:
        return Path(value).expanduser() if value[0] == "~" else Path(value)
    except RuntimeError:  # there is no such user
        return None


def _wording(kind: type, bounds: Within) -> str:
    if kind not in (int, float):
        return {bool: "true or false", str: "a word", Path: "a path"}[kind]
    name = "a whole number" if kind is int else "a number"
    return f"{name} >= {bounds.low}" + (f" and < {bounds.below}" if bounds.below < math.inf else "")
