"""What names stand for: commands, in lines that users can paste as they are; and parts, of this package or your own."""

import importlib
import shlex
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from fewshot_nas.cli.errors import InputError

COMMANDS = (
    "fit",
    "make_pool",
    "train_stand_alone",
    "train_supernet",
    "train_few_shot",
    "test",
    "choose",
    "merge",
    "rank",
    "judge",
    "latency",
    "search",
    "finetune",
    "report",
    "export",
    "predict",
    "doctor",
    "cream.search",
    "cream.retrain",
    "cream.test",
    "cream.make_pool",
)

TRAINING_COMMANDS = frozenset(
    (
        "train_stand_alone",
        "train_supernet",
        "train_few_shot",
        "finetune",
        "cream.search",
        "cream.retrain",
    )
)

# The sections of the settings that commands use which train nothing; files may have all of them.
_OF_RUN = ("space", "data", "run")
_USED = {"make_pool": ("space",), "latency": _OF_RUN, "merge": _OF_RUN, "rank": _OF_RUN, "report": _OF_RUN}
_OF_SCORES = ("space", "data", "evaluation", "run")


def uses(command: str, section: str) -> bool:
    """Whether a command makes use of a section of the settings; trainings keep all of them for later commands.

    >>> uses("latency", "data"), uses("latency", "evaluation"), uses("train_supernet", "few_shot")
    (True, False, True)
    """
    return command in TRAINING_COMMANDS or command.startswith("cream.") or section in _USED.get(command, _OF_SCORES)


def command_line(command: str, *settings: str, **options: object) -> str:
    """A line for the shell.

    Args:
        settings: such as `space.preset=cifar`.
        options: without their dashes; options that are None are left out.

    >>> command_line("merge", save="my run", epoch="7")
    "python -m fewshot_nas.merge --save='my run' --epoch=7"
    """
    given = [f"--{name}={shlex.quote(str(value))}" for name, value in options.items() if value is not None]
    return " ".join([f"python -m fewshot_nas.{command}", *given, *map(shlex.quote, settings)])


# ---- parts from outside this package: wherever a setting names a part, `module:name` names one of your own -----------

T = TypeVar("T")


def is_outside(name: str) -> bool:
    """Whether a name is of the form `module:name`.

    >>> is_outside("garden:flowers"), is_outside("digits")
    (True, False)
    """
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(map(str.isidentifier, module.split(".")))


def named_part(name: str, ours: Mapping[str, T], where: str) -> T:
    """The part of this package that has a name, or the object that `module:name` names.

    Python must be able to import the module, for instance from a file in the directory where
    `python -m` runs.

    Args:
        ours: the parts of this package.
        where: the setting, for messages.

    Raises:
        InputError: there is no such part.

    >>> named_part("math:gcd", {}, "data.name")(4, 6)
    2
    """
    if name in ours:
        return ours[name]
    if not is_outside(name):
        raise InputError(f"{where} is {name!r}, expected one of {', '.join(ours)}, or module:name for your own")
    module, _, attribute = name.partition(":")
    try:
        return cast(T, getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise InputError(f"{where} is {name!r}, which cannot be imported ({error})") from None


def extra(module: str, of: str = "export") -> Any:
    """A module of a package that not everybody needs.

    Args:
        of: the extra of this package that has it.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise InputError(f"{package} is not installed; `pip install 'fewshot-nas[{of}]'` installs it") from None
