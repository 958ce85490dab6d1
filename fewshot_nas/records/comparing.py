"""The comparison of what a run or a file fixes with what a command would use."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fewshot_nas.cli.errors import InputError

SETTINGS = "settings."  # the prefix of settings in manifests
_SHOWN = 4  # differences in a sentence
_DIGEST = re.compile("[0-9a-f]{64}")
_LONG = 12  # elements; of longer lists only the first that differs is shown


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by dotted keys; tuples become lists, as in JSON."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, _listed(value)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The dotted keys whose values differ, or that only one of them has."""
    first, second = dict(flat(one)), dict(flat(other))
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def refuse_difference(
    begun: str, fixed: Mapping[str, Any], now: Mapping[str, Any], remedy: str, keys: Iterable[str] | None = None
) -> None:
    """Refuse what is not as a run or a file fixes it.

    Args:
        begun: the beginning of the sentence, such as `results/run was begun with`.
        remedy: the end of the sentence, what to do.
        keys: dotted ones to compare; by default those that both sides have, so what one does not know is left out.

    Raises:
        InputError: names the first differences with both values.
    """
    before, after = dict(flat(fixed)), dict(flat(now))
    wanted = [key for key in before if key in after] if keys is None else keys
    other = [key for key in wanted if before.get(key) != after.get(key)]
    # A setting may also be a fact of the same name, which is said in its place.
    said = {key.removeprefix(SETTINGS): (before.get(key), after.get(key)) for key in other}
    if said:
        sentences = [_said(key, *values) for key, values in said.items()]
        raise InputError(f"{begun} {', '.join(sentences[:_SHOWN])}; {remedy}")


def _said(key: str, before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list) and max(len(before), len(after)) > _LONG:
        if len(before) != len(after):
            return f"{len(before)} {key} (now {len(after)})"
        place = next(place for place, each in enumerate(before) if each != after[place])
        key, before, after = f"{key}[{place}]", before[place], after[place]
    return f"{key} {_short(before)} (now {_short(after)})"


def _short(value: Any) -> Any:
    return f"{value[:12]}..." if isinstance(value, str) and _DIGEST.fullmatch(value) else value


def _listed(value: Any) -> Any:
    return [_listed(each) for each in value] if isinstance(value, list | tuple) else value
