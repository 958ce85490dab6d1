"""Parts from outside this package: wherever a setting names a part, `module:name` names one of your own."""

import importlib
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from fewshot_nas.cli.errors import InputError

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
