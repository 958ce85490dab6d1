"""The first line of every command: the run, its images and classes, its space, and the device."""

from pathlib import Path

from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.run import retrain_directories, run_directory, search_directory, trainings
from fewshot_nas.scores.manifests import read_manifest


def first_line(what: str, images: str = "", space: str = "", device: str = "") -> str:
    """What a command is about to work on; parts that it does not need are empty.

    >>> first_line("run results/digits (continued)", image_words("digits", 10, 1197, 300, 300), "px8", "cpu")
    'run results/digits (continued); digits, 1,197 training, 300 ranking, 300 test images, 10 classes; space px8; cpu'
    """
    return "; ".join(part for part in (what, images, space and f"space {space}", device) if part)


def image_words(name: str, classes: int, train: int, valid: int, test: int | None = None) -> str:
    """A data set with the numbers of images in its parts and of its classes."""
    counts = {"training": train, "ranking": valid} | ({} if test is None else {"test": test})
    shown = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    return f"{name}, {shown} images, {classes} classes"


def run_begun(save: str) -> bool:
    """Whether anything has been trained under this name."""
    return _manifest(save) is not None


def known_run(save: str) -> str:
    """The first line of a command that reads a run's files only: what its first training was begun with."""
    path, what = _manifest(save), f"run {run_directory(save)}"
    if path is None:
        return f"{what} (nothing was trained here)"
    content = read_manifest(path)
    try:
        data, space = content["data"], content.get("space", {}).get("name", "")
        counts = data["train"]["images"], data["valid"]["images"]
        return first_line(what, image_words(data["name"], data["num_classes"], *counts), space)
    except (KeyError, TypeError, AttributeError):
        return what


def _manifest(save: str) -> Path | None:
    """Of the first training of a run, of either system."""
    directories: list[PhaseDirectory] = [*trainings(save), search_directory(save), *retrain_directories(save)]
    return next((each.manifest for each in directories if each.manifest.exists()), None)
