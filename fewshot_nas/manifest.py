"""What a run depends on: written when it begins, and compared before it is continued."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fewshot_nas.config import Config
from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json

_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "fewshot-nas")

# Settings that change the cost of a run, or where something lies, but not its outcome.
_FREE = frozenset(
    {
        "data.root",
        "data.cache",
        "data.workers",
        "evaluation.batch_size",
        "evaluation.memory_mb",
        "run.checkpoint_steps",
        "run.keep",
        "run.ground_truth",
        "run.pool",
    }
)


def manifest(config: Config, section: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a training run depends on, as JSON will hold it.

    Args:
        section: of the settings, that tells how this run trains.
        facts: beside the settings: data, parent, number of processes, ...
    """
    settings = {
        name: {key: value for key, value in asdict(getattr(config, name)).items() if f"{name}.{key}" not in _FREE}
        for name in ("data", section, "evaluation", "run")
    }
    versions = {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}}
    written = {
        "versions": versions,
        "git_commit": _git_commit(),
        "seed": config.run.seed,
        **facts,
        "space": asdict(config.space.build()),
        "settings": settings,
    }
    return dict(json.loads(json.dumps(written, default=str)))


def recipe_sha256(content: Mapping[str, Any]) -> str:
    """Digest of a manifest without what rightly differs between the runs of a ground truth."""
    kept = {key: value for key, value in _flat(content) if key not in ("arch", "seed", "settings.run.seed")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def refuse_changes(path: Path, now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run under another manifest; other versions and paths do not matter.

    Raises:
        InputError: names the first thing that is different.
    """
    before, after = dict(_flat(read_json(path))), dict(_flat(now))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            raise InputError(
                f"{path.parent} was begun with {key.removeprefix('settings.')} {before.get(key)}, now it is"
                f" {after.get(key)}; go on with the old one, or start anew with --no-resume or another --save"
            )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = prefix + key
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif not name.startswith(("versions.", "git_commit")) and key != "path":
            yield name, value


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
