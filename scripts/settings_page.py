"""Writes docs/settings.md, the page of all settings, and configs/digits.yml, their defaults, from the dataclasses.

python scripts/settings_page.py            writes both
python scripts/settings_page.py --check    fails if one is not what the code says
"""

import ast
import dataclasses
import inspect
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from fewshot_nas.cli.settings import Part, Within, is_free
from fewshot_nas.config import Config, dump_config
from fewshot_nas.cream import config as cream

ROOT = Path(__file__).parents[1]

_HEAD = """# All settings

A command takes its settings from `--config FILE` (YAML, as in `configs/`), or else from the run that it goes on with,
or else the defaults below; `SECTION.KEY=VALUE` on the command line replaces one: `training.epochs=50`,
`training.resolutions=[24,28]`. A run keeps them in `config.yml` and goes on with them: a difference is refused, except
for *free* settings, which change only what it costs or where a file is.

Keys that do not exist, or stand twice in a file, and values out of range are refused. Numbers are decimal and not
negative; nothing is `null`. `scripts/settings_page.py` writes this page.
"""

_DEFAULTS = """# scikit-learn's 8x8 digits: 1,197 to train on, 300 held out for the ranking, 300 for the test.
# These are the defaults, as `python scripts/settings_page.py` writes them; docs/settings.md explains each setting.
"""

_COMMANDS = {"search": cream.SearchConfig, "retrain": cream.RetrainConfig, "test": cream.CheckpointConfig}

_CREAM = """## Cream

The commands of [Cream](cream.md) have these keys, outside sections, and the sections `data` and `run`.
"""


def page() -> str:
    """The page's text."""
    parts = [_HEAD]
    shown: dict[str, str] = {}  # each row, without its section, and the section that has it first
    for section, kind in get_type_hints(Config).items():
        parts.append(f"## `{section}`\n\n{_first(kind)}\n\n{_table(kind, section, shown)}")
    parts.append(_CREAM)
    shown = {}
    for title, kind in _COMMANDS.items():
        parts.append(f"### `cream.{title}`\n\n{_table(kind, f'cream.{title}', shown)}")
    return "\n".join(parts)


def _first(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _table(kind: type, section: str, shown: dict[str, str]) -> str:
    """The settings of a section that no section before has alike, and the names of the others."""
    hints, notes = get_type_hints(kind, include_extras=True), comments(kind)
    prefix, rows, alike = "" if section.startswith("cream.") else f"{section}.", [], dict[str, list[str]]()
    for field in dataclasses.fields(kind):
        if not dataclasses.is_dataclass(hints[field.name]):
            meaning = f"{'*Free.* ' * is_free(hints[field.name])}{notes[field.name]}"
            row = f"{field.name}` | {_values(hints[field.name])} | {_default(field)} | {meaning} |"
            if (first := shown.setdefault(row, section)) == section:
                rows.append(f"| `{prefix}{row}")
            else:
                alike.setdefault(first, []).append(f"`{prefix}{field.name}`")
    table = "\n".join(["| setting | values | default | meaning |", "|---|---|---|---|", *rows]) + "\n"
    return table + "".join(
        f"\nAs in `{first}`, with the same defaults: {', '.join(names)}.\n" for first, names in alike.items()
    )


def comments(kind: type) -> dict[str, str]:
    """The comment above each field of a dataclass, of the class itself or of one that it is derived from."""
    found: dict[str, str] = {}
    for each in reversed([each for each in kind.__mro__ if dataclasses.is_dataclass(each)]):
        source = inspect.getsource(each)
        lines = source.splitlines()
        fields = [node for node in ast.parse(source).body[0].body if isinstance(node, ast.AnnAssign)]  # type: ignore[attr-defined]
        found |= {node.target.id: _above(lines, node.lineno - 1) for node in fields}  # type: ignore[union-attr]
    return found


def _above(lines: Sequence[str], row: int) -> str:
    above: list[str] = []
    while row and lines[row - 1].strip().startswith("#"):
        row -= 1
        above.insert(0, lines[row].strip().removeprefix("#").strip())
    return " ".join(above).replace("|", "\\|")


def _values(hint: Any) -> str:
    """What a setting takes, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _values(arguments[0])  # its default, null, says that it may be null
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"[{_values(arguments[0])}, ...]"
    if origin is Annotated:
        for note in arguments[1:]:
            if isinstance(note, Part):
                return f"{', '.join(f'`{name}`' for name in note.names)}, or `module:name`"
            if isinstance(note, Within):
                return _number(arguments[0], note)
        return _values(arguments[0])
    named = {bool: "`true`, `false`", str: "a word", Path: "a path"}
    return named[hint] if hint in named else _number(hint, Within())


def _number(kind: type, bounds: Within) -> str:
    """What is said of all numbers, that they are not negative, is not said again."""
    least = f" >= {bounds.low}" if bounds.low else ""
    below = "" if bounds.below == float("inf") else f" < {bounds.below:g}"
    return f"{'integer' if kind is int else 'number'}{least}{below}"


def _default(field: "dataclasses.Field[Any]") -> str:
    value = field.default
    if value is None:
        return "`null`"
    shown = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
    return f"`{list(shown) if isinstance(shown, tuple) else shown}`" if str(shown) else "empty"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and the defaults, or compare them."""
    checks, differ = (sys.argv[1:] if argv is None else argv) == ["--check"], False
    for path, text in {"docs/settings.md": page(), "configs/digits.yml": _DEFAULTS + dump_config(Config())}.items():
        if not checks:
            (ROOT / path).write_text(text, encoding="utf-8")
        elif (ROOT / path).read_text(encoding="utf-8") != text:
            print(f"{path}: is not what the code says; python {Path(__file__).name} writes it", file=sys.stderr)
            differ = True
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
