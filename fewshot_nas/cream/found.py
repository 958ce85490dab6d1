"""The path that a search found: its file, and the settings that select it."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fewshot_nas.cream.config import OWN
from fewshot_nas.cream.paths import CreamPath, format_path, parse_path
from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json, write_json

FORM = "KEY=value"  # of an override


def add_path_option(parser: argparse.ArgumentParser) -> None:
    """The option `--from_search FILE`."""
    parser.add_argument(
        "--from_search", type=Path, metavar="FILE", help="take path and image size from path.json of a search"
    )


def path_overrides(file: Path | None, overrides: Sequence[str]) -> list[str]:
    """The overrides that select a found path, followed by the user's.

    Raises:
        InputError: the file is not the result of a search, or the user's overrides select another model.
    """
    if file is None:
        return list(overrides)
    for override in overrides:
        if override.partition("=")[0] in ("MODEL_SELECTION", "INPUT_ARCH"):
            raise InputError(f"{override!r} and --from_search both select a model, expected only one of them")
    path, resolution = read_found(file)
    chosen = [f"MODEL_SELECTION={OWN}", f"INPUT_ARCH={format_path(path)}", f"IMAGE_SIZE={resolution}"]
    return [*chosen, *overrides]


def write_found(file: Path, path: CreamPath, resolution: int, more: dict[str, Any]) -> None:
    """Write a path, the side of its images, and more facts about it."""
    write_json(file, {"INPUT_ARCH": format_path(path), "resolution": resolution, **more})


def read_found(file: Path) -> tuple[CreamPath, int]:
    """Read the path and the side of its images from a file of `write_found`.

    Raises:
        InputError: the file does not have this form.
    """
    content = read_json(file)
    try:
        text, resolution = content["INPUT_ARCH"], int(content["resolution"])
        return parse_path(text), resolution
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{file}: is not the result of a search, expected INPUT_ARCH and resolution") from None
