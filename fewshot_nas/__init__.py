"""One-shot and few-shot weight-sharing architecture search, with rankings that are measured against a ground truth.

The names below are those that a notebook needs. They are imported when they are first used, so that a
command's `--help` need not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING

from fewshot_nas.version import __version__ as __version__

if TYPE_CHECKING:
    from fewshot_nas.api import extract, load_supernet, macs, open_data, params, random_arch, score
    from fewshot_nas.cli.errors import InputError
    from fewshot_nas.evaluation.scorer import Scorer
    from fewshot_nas.run import Run
    from fewshot_nas.space.presets import SPACES
    from fewshot_nas.space.space import Arch
from fewshot_nas.space.space import Space

__all__ = [
    "SPACES",
    "Arch",
    "InputError",
    "Run",
    "Scorer",
    "Space",
    "extract",
    "load_supernet",
    "macs",
    "open_data",
    "params",
    "random_arch",
    "score",
]

_ELSEWHERE = {
    "Arch": "space.space",
    "InputError": "cli.errors",
    "Run": "run",
    "SPACES": "space.presets",
    "Scorer": "evaluation.scorer",
    "Space": "space.space",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ELSEWHERE.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
