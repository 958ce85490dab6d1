"""What users can rely on: names, commands with their options, settings, files. A change is a decision, not an accident.

RENEW=1 pytest tests/golden     writes surface.txt and numbers.json anew
"""

import dataclasses
import difflib
import importlib
import json
import re
from pathlib import Path
from typing import get_type_hints

import pytest
import torch

import fewshot_nas
from fewshot_nas.cli.names import COMMANDS
from fewshot_nas.config import Config
from fewshot_nas.cream import config as cream

CREAM = {"cream.search": cream.SearchConfig, "cream.retrain": cream.RetrainConfig, "cream.test": cream.CheckpointConfig}


def names():
    yield from (f"name {name}" for name in fewshot_nas.__all__)


def options():
    for command in COMMANDS:
        for action in importlib.import_module(f"fewshot_nas.{command}")._parser()._actions:
            words = ", ".join(action.option_strings) or "SETTING"
            choices = f" {{{','.join(map(str, action.choices))}}}" if action.choices else ""
            needed = " (required)" if action.required and action.option_strings else ""
            yield f"command {command} {words}{choices}{needed}"


def settings():
    for prefix, kind in {"": Config, **{f"{command} ": kind for command, kind in CREAM.items()}}.items():
        yield from (f"setting {line}" for line in fields(kind, prefix))


def fields(kind, prefix):
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from fields(hints[field.name], f"{prefix}{field.name}.")
        else:
            default = field.default_factory() if field.default is dataclasses.MISSING else field.default
            yield f"{prefix}{field.name} = {default}"


def formats(directory):
    """The named formats, and the files of a run with their keys."""
    sources = "\n".join(path.read_text() for path in sorted(Path(fewshot_nas.__file__).parent.rglob("*.py")))
    yield from (f"format {name}" for name in set(re.findall(r'"(fewshot_nas [a-z]+ \d+)"', sources)))
    for path in directory.rglob("*"):
        if path.is_file() and not path.name.startswith(".") and path.parent.name != "events":
            yield from (f"file {path.relative_to(directory)}{key}" for key in keys(path))


def keys(path):
    """The keys of a file's content, without those by arch, of states for resuming and of manifests."""
    if path.name == "last.pth" or path.name.startswith("manifest"):
        content = []
    elif path.suffix in (".pth", ".tar"):
        content = [torch.load(path, weights_only=True)]
    elif path.suffix in (".json", ".jsonl"):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        content = [json.loads(line) for line in lines]
    else:
        content = []
    found = {key for each in content if isinstance(each, dict) for key in each}
    return {"" if re.match("arch[0-9]", key) else f": {key}" for key in found} or {""}


@pytest.mark.golden
def test_the_public_surface_is_as_it_was(run, committed):
    lines = sorted({*names(), *options(), *settings(), *formats(run)})
    expected = committed("surface.txt", "".join(f"{line}\n" for line in lines)).splitlines()
    changed = [line for line in difflib.ndiff(expected, lines) if line[0] in "+-"]
    assert not changed, "\n".join(["the public surface has changed; if that is meant, renew it (see above):", *changed])
