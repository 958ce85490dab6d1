"""The path that a search found: its file, and the settings that select it."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.settings import build
from fewshot_nas.cream.config import OWN
from fewshot_nas.cream.paths import Model, format_path, parse_path
from fewshot_nas.cream.space import CreamSpace
from fewshot_nas.records.files import read_json, write_json

FORM = "KEY=value"  # of an override


def add_path_option(parser: argparse.ArgumentParser) -> None:
    """The option `--from_search FILE`."""
    parser.add_argument(
        "--from_search", type=Path, metavar="FILE", help="take path, image size and space from path.json of a search"
    )


def path_overrides(file: Path | None, overrides: Sequence[str]) -> list[str]:
    """The overrides that select a found path, followed by the user's.

    Raises:
        InputError: the file is not the result of a search, or the user's overrides select another model.
    """
    if file is None:
        return list(overrides)
    for override in overrides:
        if override.partition("=")[0] in ("MODEL_SELECTION", "INPUT_ARCH", "SINGLE_BLOCKS"):
            raise InputError(f"{override!r} and --from_search both select a model, expected only one of them")
    model = read_model(file)
    chosen = [f"MODEL_SELECTION={OWN}", f"INPUT_ARCH={format_path(model.path)}", f"IMAGE_SIZE={model.resolution}"]
    chosen += [f"SPACE.{name}={json.dumps(value)}" for name, value in asdict(model.space).items()]
    return [*chosen, *overrides]


def write_model(file: Path, model: Model, more: Mapping[str, Any]) -> None:
    """Write a path, the side of its images, its space, and more facts about it."""
    write_json(file, {**model.values(), **more})


def read_model(file: Path) -> Model:
    """Read the network from a file of `write_model`.

    Raises:
        InputError: the file does not have this form.
    """
    content = read_json(file)
    try:
        text, resolution, values = content["INPUT_ARCH"], int(content["resolution"]), content.get("space", {})
        return Model(parse_path(text), resolution, build(CreamSpace, values, "SPACE."))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{file}: is not the result of a search, expected INPUT_ARCH and resolution") from None
