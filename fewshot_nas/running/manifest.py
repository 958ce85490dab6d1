"""The manifest of a run: everything it depends on, written when it begins and compared before it is continued."""

import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.settings import compared
from fewshot_nas.config import DEFAULT_SPACE, Config, RecipeConfig
from fewshot_nas.records.files import PACKAGE, read_json, write_json, write_text
from fewshot_nas.records.journal import SETTINGS, flat, refuse_difference
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.scores import read_manifest, trained_network
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import Space, preset_of
from fewshot_nas.version import __version__

_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "timm")

_FREE_FACT = "ground_truth"  # a finished phase's epoch can be chosen anew, see `running.supernets`

_CLASSES = "data.classes"  # names may be given later
_PARTS = ("data.train", "data.valid", _CLASSES)
UNCOMPARED = ("versions", "git_commit", "processes")  # what a manifest holds for people only


def manifest(config: Config, training: RecipeConfig, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a training run, as plain values for JSON.

    Args:
        training: the settings of this training.
        facts: what the run depends on besides settings: data, parent, number of processes, ...
    """
    sections = {"data": config.data, training.section: training, "evaluation": config.evaluation, "run": config.run}
    settings = {name: compared(section) for name, section in sections.items()}
    return manifest_of(settings, {**facts, "space": config.space.build().values()})


def manifest_of(settings: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a run that depends on all these settings, see `compared`; the seed is in the section `run`."""
    versions = {"python": platform.python_version(), "fewshot-nas": __version__, **dict(map(_version, _PACKAGES))}
    written = {
        "versions": versions,
        "git_commit": _git_commit(),
        "seed": settings["run"]["seed"],
        **facts,
        "settings": settings,
    }
    return dict(json.loads(json.dumps(written, default=str)))


def _version(package: str) -> tuple[str, str | None]:
    try:
        return package, version(package)
    except PackageNotFoundError:  # a checkout with its libraries beside it
        return package, None


def recipe_sha256(content: Mapping[str, Any]) -> str:
    """Digest of a manifest without the values that may differ between the runs of a ground truth."""
    own = ("arch", "seed", "settings.run.seed")
    kept = {key: value for key, value in _fixed(content).items() if key not in own}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def refuse_changes(path: Path, now: Mapping[str, Any]) -> None:
    """Refuse to continue a run that has another manifest; versions and paths may differ.

    Raises:
        InputError: names the first things that are different.
    """
    before, after = _fixed(read_json(path)), _fixed(now)
    keys = [
        key
        for key in sorted(before.keys() | after.keys(), key=lambda key: (not key.startswith(SETTINGS), key))
        if not key.startswith(_FREE_FACT) and key != "seed" and (key != _CLASSES or key in before.keys() & after.keys())
    ]
    remedy = "go on with the old values, or start anew with --no-resume or another --save"
    refuse_difference(f"{path.parent} was begun with", before, after, remedy, keys)


def refuse_another_run(paths: Iterable[Path], now: Mapping[str, Any]) -> None:
    """Refuse data or a space that differ from those of the trainings that a run has already.

    Args:
        paths: the manifests of the run's trainings, of which the first one that exists counts.

    Raises:
        InputError: names the first things that are different.
    """
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return
    before, after = (
        {key: value for key, value in _fixed(content).items() if key.startswith(("data.", "space."))}
        for content in (read_json(path), now)
    )
    # Where the name tells already, what follows from it need not be said.
    followers = ("space.name",) if before.get("data.name") == after.get("data.name") else ("space.name", *_PARTS)
    remedy = (
        "all trainings of a run have one data set and one space, so leave these settings out, or choose another --save"
    )
    keys = [key for key in sorted(before.keys() & after.keys()) if not key.startswith(followers)]
    refuse_difference(f"{path.parent} was begun with", before, after, remedy, keys)


def fixed_by(manifest: Path) -> dict[str, Any]:
    """What a training fixes for all commands that use its network, by its manifest, as `refuse_settings` takes it."""
    content, network = read_manifest(manifest), trained_network(manifest, SPACES[DEFAULT_SPACE])
    begun = content.get("settings", {}).get("data", {})
    known = {"num_classes": network.num_classes} if "num_classes" in content.get("data", {}) else {}
    return fixed_by_network(network.space) | {"data": {**begun, **known}}


def fixed_by_network(space: Space, num_classes: int | None = None) -> dict[str, Any]:
    """What a network fixes, as `refuse_settings` takes it."""
    values = {key: value for key, value in asdict(space).items() if key != "name"}
    data = {} if num_classes is None else {"num_classes": num_classes}
    return {"space": {"preset": preset_of(space.name), **values}, "data": data}


def refuse_settings(config: Config, where: Path | str, fixed: Mapping[str, Any]) -> None:
    """Refuse settings that say something else than a network that is there already.

    What they leave out is the network's. The images to rank on may be chosen anew.

    Args:
        where: the network's file or its run, for the message.

    Raises:
        InputError: names the first settings that differ.
    """
    data = {key: value for key, value in compared(config.data).items() if key != "valid_images"}
    if data["num_classes"] is None:
        del data["num_classes"]
    remedy = "the network cannot be changed, so leave these settings out, or name another network"
    refuse_difference(f"{where} was made with", fixed, {"space": config.space.given(), "data": data}, remedy)


def _fixed(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest fixes, by dotted keys: all but what it holds for people only, and places of files."""
    return {
        key: value for key, value in flat(content) if not key.startswith(UNCOMPARED) and key.split(".")[-1] != "path"
    }


def goes_on(directory: PhaseDirectory, content: Mapping[str, Any], resume: bool) -> bool:
    """Whether there is an earlier run to continue.

    Raises:
        InputError: there is a run with another manifest, or of unknown origin.
    """
    if not resume:
        return False
    if directory.manifest.exists():
        refuse_changes(directory.manifest, content)
        return True
    if directory.chosen.exists() or directory.last.exists():
        raise InputError(
            f"{directory.path} has a network but no {directory.manifest.name}, so it was not trained here;"
            " choose another --save, or give --no-resume to replace it"
        )
    return False


def begin(directory: PhaseDirectory, content: Mapping[str, Any], settings: str) -> None:
    """Remove what an earlier run left, scores of its evaluation as well, and note what the new one depends on.

    Args:
        settings: YAML.
    """
    clear(directory)
    write_text(directory.config, settings)
    write_json(directory.manifest, content)


def clear(directory: PhaseDirectory) -> None:
    """Remove what a run left in its directory."""
    for path in (*directory.files(), *directory.candidates()):
        path.unlink(missing_ok=True)
    for path in (directory.events, directory.all_scores):
        shutil.rmtree(path, ignore_errors=True)


def _git_commit() -> str | None:
    command = ["git", "-C", str(PACKAGE), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
