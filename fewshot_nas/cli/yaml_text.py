"""YAML as it is written: a scalar stays text until the type of its setting says what it means.

YAML 1.1 guesses instead: `064` is 52, `1:30` is 90, `no` is false, and of a repeated key the last one counts.
"""

from typing import Any

import yaml

from fewshot_nas.cli.errors import InputError

_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))  # of values without a tag
_MERGE = "<<"


class Plain(str):
    """A scalar without quotes, which may stand for a number, true or false, nothing, or a word."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self) or "empty"


def read_yaml(text: str, where: str) -> Any:
    """Mappings and lists of scalars: `Plain` ones, and `str` where they have quotes.

    Args:
        where: the file, for messages.

    Raises:
        InputError: the text is not YAML, repeats a key, or has tags such as `!!int`.
    """
    try:
        node = yaml.compose(text, yaml.BaseLoader)
        return _value(node, where, {}) if node else Plain()
    except RecursionError:
        raise InputError(f"{where}: is nested too deeply") from None
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from None


def _value(node: yaml.Node, where: str, known: dict[int, Any]) -> Any:
    """The value of a node; one that is referred to several times is read once."""
    if id(node) in known:
        return known[id(node)]
    if node.tag not in _TAGS:
        raise InputError(f"{where}: {_line(node)} has the tag {node.tag}, expected none; the setting says the type")
    if isinstance(node, yaml.MappingNode):
        value: Any = _mapping(node, where, known)
    elif isinstance(node, yaml.SequenceNode):
        value = [_value(each, where, known) for each in node.value]
    else:
        quoted = isinstance(node, yaml.ScalarNode) and node.style
        value = node.value if quoted else Plain(node.value)
    known[id(node)] = value
    return value


def _mapping(node: yaml.MappingNode, where: str, known: dict[int, Any]) -> dict[str, Any]:
    lines: dict[str, str] = {}
    found: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key, content in node.value:
        name, value = _value(key, where, known), _value(content, where, known)
        if not isinstance(name, str):
            raise InputError(f"{where}: {_line(key)} has a list or a mapping as a key, expected a word")
        if name in lines:
            raise InputError(f"{where}: {_line(key)} repeats {name}, which {lines[name]} has; expected each key once")
        lines[name] = _line(key)
        if name == _MERGE and isinstance(name, Plain):
            for each in reversed(value if isinstance(value, list) else [value]):
                if not isinstance(each, dict):
                    raise InputError(f"{where}: {_line(key)} merges {each!r}, expected a mapping")
                merged |= each
        else:
            found[str(name)] = value
    return merged | found


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"
