"""Reads a public configuration of Cream and prints ours; what is left out is named on standard error.

python scripts/cream_yaml.py search train.yaml > mine.yml      also: retrain retrain.yaml, test test.yaml
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

# The keys, without the sections around them, that each command takes under their own names.
SAME = {
    "search": {"EPOCHS", "LR", "META_LR", "UPDATE_ITER", "SLICE", "POOL_SIZE", "PICK_METHOD", "META_STA_EPOCH"}
    | {"FLOPS_MINIMUM", "FLOPS_MAXIMUM"},
    "retrain": {"EPOCHS", "WARMUP_EPOCHS", "COOLDOWN_EPOCHS", "WARMUP_LR", "MIN_LR", "INPUT_ARCH", "MODEL_SELECTION"},
    "test": {"RESUME_PATH", "INPUT_ARCH", "MODEL_SELECTION"},
}
# What the public search does without a key for it.
PUBLISHED = {"search": {"SHARED_EPOCHS": 0, "BOARD": "batch", "TEACH_EVERY": 1}}


def flat(values: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, str, Any]]:
    """Each value with its key and its full name; sections are opened."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{where}{key}.")
        else:
            yield key, f"{where}{key}", value


def converted(command: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Our settings, and the names of the public ones that have no place in them."""
    known = {key: value for key, _, value in flat(values)}
    images = known.get("BATCH_SIZE", 128) * known.get("NUM_GPU", 8)
    ours: dict[str, Any] = {"data": {"name": "folders"}, "run": {"threads": 0}, **PUBLISHED.get(command, {})}
    place: dict[str, Callable[[Any], None]] = {
        "DATA_DIR": lambda value: ours["data"].update(root=value),
        "WORKERS": lambda value: ours["data"].update(workers=value),
        "SEED": lambda value: ours["run"].update(seed=value),
        "SYNC_BN": lambda value: ours["run"].update(sync_norms=value),
        "IMAGE_SIZE": lambda value: ours.update(IMAGE_SIZE=value),
        "BATCH_SIZE": lambda _: ours.update(BATCH_SIZE=images),
        "NUM_GPU": lambda _: None,  # it is in BATCH_SIZE
        **{key: lambda value, key=key: ours.update({key: value}) for key in SAME[command]},
    }
    if command == "search":
        place["HOW_TO_PROB"] = lambda value: ours.update(SAMPLING="prior" if value == "pre_prob" else "uniform")
    else:
        place["SELECTION"] = lambda value: ours.update(MODEL_SELECTION=value)
    if command == "retrain":
        place["DROPOUT_RATE"] = lambda value: ours.update(DROPOUT=value)
        place["DECAY"] = lambda value: ours.update(EMA_DECAY=value)
        place["LR"] = lambda value: ours.update(LR=float(value) * 1024 / images)  # ours is for 1,024 images a step
    dropped = []
    for key, name, value in flat(values):
        if key in place:
            place[key](value)
        else:
            dropped.append(name)
    return {key: numeric(value) for key, value in ours.items()}, dropped


def numeric(value: Any) -> Any:
    """A number that YAML 1.1 takes for text, such as 1e-4, as a number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def main(argv: Sequence[str] | None = None) -> int:
    """Print the settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=SAME)
    parser.add_argument("file", type=Path)
    options = parser.parse_args(argv)
    values = yaml.safe_load(options.file.read_text(encoding="utf-8"))
    if not isinstance(values, Mapping):
        sys.exit(f"cream_yaml.py: {options.file} has no settings, expected KEY: value")
    ours, dropped = converted(options.command, values)
    print(yaml.safe_dump(ours, sort_keys=False), end="")
    if dropped:
        print(f"left out, because there is no such setting: {', '.join(dropped)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
