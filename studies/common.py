"""Where the studies find the project's files, and their test beds."""

from pathlib import Path

from fewshot_nas.config import load_config
from fewshot_nas.space.space import Space

ROOT = Path(__file__).resolve().parents[1]
STUDIES = ROOT / "studies"
FILES = ROOT / "json_file"  # pools and ground truths


def space_of(bed: str) -> Space:
    """The space of a test bed, by the name of its settings in configs/."""
    return load_config(ROOT / "configs" / f"{bed}.yml").space.build()
