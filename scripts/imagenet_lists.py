"""Writes the lists that `data.name=lists` reads from folders of images, train/<class>/ and val/<class>/.

python scripts/imagenet_lists.py data/imagenet               2,500 of the validation images are to rank on, as published
python scripts/imagenet_lists.py data/imagenet --hold-out    2,500 of the training images, which then are not trained on
"""

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

Images = Mapping[str, Sequence[Path]]  # by class

ENDINGS = frozenset((".jpeg", ".jpg", ".png"))


def images(directory: Path) -> Images:
    """The image files of each class below a directory, in order."""
    classes = sorted(path for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []
    found = {path.name: sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS) for path in classes}
    if empty := [name for name, files in found.items() if not files]:
        sys.exit(f"imagenet_lists.py: {directory / empty[0]} has no images, expected files that end in .JPEG")
    if not found:
        sys.exit(f"imagenet_lists.py: {directory} has no directories of classes, expected {directory}/<class>/*.JPEG")
    return found


def part(of: Images, count: int) -> set[Path]:
    """A fixed choice of `count` images: as many of each class, and one more of some."""
    rng, each, more = random.Random(0), *divmod(count, len(of))
    longer = set(rng.sample(sorted(of), more))
    return {file for name, files in of.items() for file in rng.sample(files, min(len(files), each + (name in longer)))}


def lines(of: Images, root: Path, wanted: Callable[[Path], bool]) -> Iterator[str]:
    """A line for each image that is wanted: its path, relative to `root`, and its label."""
    for label, files in enumerate(of.values()):
        yield from (f"{file.relative_to(root).as_posix()} {label}\n" for file in files if wanted(file))


def main(argv: Sequence[str] | None = None) -> int:
    """Write `train.txt`, `valid.txt`, `valid_part2500.txt` and `classes.txt` into the root."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--count", type=int, default=2500, help="images to rank on (default 2500)")
    parser.add_argument("--hold-out", action="store_true", help="take them from the training images")
    options = parser.parse_args(argv)
    train, valid = images(options.root / "train"), images(options.root / "val")
    if train.keys() != valid.keys():
        odd = min(train.keys() ^ valid.keys())
        sys.exit(f"imagenet_lists.py: class {odd} is in one of train and val only, expected the same classes in both")
    source = train if options.hold_out else valid
    ranked = part(source, options.count)
    held_out = ranked if options.hold_out else set()
    lists = {
        "train.txt": lines(train, options.root, lambda file: file not in held_out),
        "valid.txt": lines(valid, options.root, lambda _: True),
        "valid_part2500.txt": lines(source, options.root, lambda file: file in ranked),
        "classes.txt": (f"{name}\n" for name in train),
    }
    for name, each in lists.items():
        written = list(each)
        (options.root / name).write_text("".join(written), encoding="utf-8")
        print(f"{options.root / name}: {len(written):,} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
