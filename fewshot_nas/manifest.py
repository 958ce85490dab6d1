"""The manifest of a run: everything it depends on, written when it begins and compared before it is continued."""

import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fewshot_nas.config import Config
from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json, write_json, write_text
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.space.search_space import described_as_now, preset_of

_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "timm", "fewshot-nas")

# Settings that change the cost of a run, or the place of a file, but not the result.
_FREE = frozenset(
    {
        "data.root",
        "data.cache",
        "data.workers",
        "evaluation.batch_size",
        "evaluation.classifier_images",  # no training goes by it, and manifests of scores tell it
        "evaluation.memory_mb",
        "run.checkpoint_steps",
        "run.keep",
        "run.silence_s",
        "run.ground_truth",
        "run.pool",
    }
)


_FREE_FACT = "ground_truth"  # a finished phase's epoch can be chosen anew, see `choosing`

UNCOMPARED = ("versions", "git_commit")  # what a manifest tells for people

# Settings that came later, with the values that change nothing: digests leave them out, so older ones hold.
_LATER = {"settings.data.stored_side": None, "settings.run.tf32": True, "settings.run.deterministic": False}


def manifest(config: Config, section: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a training run, as plain values for JSON.

    Args:
        section: the section of the settings that describes this training.
        facts: what the run depends on besides settings: data, parent, number of processes, ...
    """
    settings = {name: asdict(getattr(config, name)) for name in ("data", section, "evaluation", "run")}
    return manifest_of(settings, {**facts, "space": config.space.build().values()})


def manifest_of(settings: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a run that depends on all the given settings; the seed is in the section `run`."""
    versions = {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}}
    written = {
        "versions": versions,
        "git_commit": _git_commit(),
        "seed": settings["run"]["seed"],
        **facts,
        "settings": _lasting(settings),
    }
    return dict(json.loads(json.dumps(written, default=str)))


def processes(size: int) -> dict[str, Any]:
    """How many processes take part; several share a batch, which once was each one's."""
    return {"processes": size} | ({"processes_share": "batch_size"} if size > 1 else {})


def _lasting(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    return {
        key: _lasting(value, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in settings.items()
        if prefix + key not in _FREE
    }


def usual_settings(config: Any) -> dict[str, Any]:
    """The default settings of this kind of configuration, in the form of a manifest."""
    return dict(json.loads(json.dumps(_lasting(asdict(type(config)())), default=str)))


def recipe_sha256(content: Mapping[str, Any]) -> str:
    """Digest of a manifest without the values that may differ between the runs of a ground truth."""
    # Earlier versions did not mark the name of a changed space; its values say the same.
    own = ("arch", "seed", "settings.run.seed", "space.name")
    kept = {key: value for key, value in _flat(content) if key not in own and (key, value) not in _LATER.items()}
    kept |= {key: preset_of(value) for key, value in _flat(content) if key == "space.name"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def refuse_changes(path: Path, now: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Refuse to continue a run that has another manifest; versions and paths may differ.

    Args:
        usual: the defaults of all settings. A run that was begun before a setting existed had
            its default.

    Raises:
        InputError: names the first thing that is different.
    """
    before, after = dict(_flat(_as_now(read_json(path)))), dict(_flat(now))
    before = {key: value for key, value in _flat({"settings": usual}) if key in after} | before
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key) and not key.startswith(_FREE_FACT):
            raise InputError(
                f"{path.parent} was begun with {key.removeprefix('settings.')} {before.get(key)}, now it is"
                f" {after.get(key)}; go on with the old one, or start anew with --no-resume or another --save"
            )


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The keys, dotted, of what two manifests do not agree on."""
    first, second = dict(_flat(one)), dict(_flat(other))
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


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
        dict(_flat({part: content.get(part) or {} for part in ("data", "space")}))
        for content in (_as_now(read_json(path)), now)
    )
    # Where the name tells already, what follows from it need not be said.
    followers = [] if before.get("data.name") == after.get("data.name") else ["data.train", "data.valid"]
    keys = [
        key
        for key in before.keys() & after.keys() - {"space.name"}
        if before[key] != after[key] and not key.startswith(tuple(followers))
    ]
    if keys:
        shown = ", ".join(f"{key} {before[key]} (now {after[key]})" for key in sorted(keys)[:4])
        raise InputError(
            f"{path.parent} was begun with {shown}; all trainings of a run have one data set and one space,"
            " so leave these settings out, or choose another --save"
        )


def _as_now(content: dict[str, Any]) -> dict[str, Any]:
    """A manifest with its space described as this version would describe it."""
    return {**content, "space": described_as_now(content["space"])} if "space" in content else content


def goes_on(directory: PhaseDirectory, content: Mapping[str, Any], usual: Mapping[str, Any], resume: bool) -> bool:
    """Whether there is an earlier run to continue.

    Args:
        usual: as `refuse_changes`.

    Raises:
        InputError: there is a run with another manifest, or of unknown origin.
    """
    if not resume:
        return False
    if directory.manifest.exists():
        refuse_changes(directory.manifest, content, usual)
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


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = prefix + key
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif not name.startswith(UNCOMPARED) and key != "path":
            yield name, value


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
