"""Print what each extra adds to an installation: the size of its files, by what is installed here.

    python scripts/extras.py

What the installation without extras has already does not count; an extra that is not installed here has no size.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, metadata

from packaging.requirements import Requirement

PROJECT = "fewshot-nas"


def main() -> int:
    """A line for the installation without extras, then one for each."""
    for name, megabytes in sizes():
        print(f"{name:10} {'not installed here' if megabytes is None else f'{megabytes:,.0f} MB'}")
    return 0


def sizes() -> Iterator[tuple[str, float | None]]:
    """By extra what it adds, in MB, or None; the first is the installation without extras."""
    plain = needed(PROJECT)
    yield "none", megabytes(plain.values())
    for extra in metadata(PROJECT).get_all("Provides-Extra"):
        more = needed(f"{PROJECT}[{extra}]")
        yield extra, megabytes(found for name, found in more.items() if name not in plain)


def needed(requirement: str) -> dict[str, Distribution | None]:
    """A requirement's packages and all that these need, by name; None for what is not installed."""
    found: dict[str, Distribution | None] = {}
    seen, waiting = set(), [requirement]
    while waiting:
        wanted = Requirement(waiting.pop())
        name = re.sub("[-_.]+", "-", wanted.name).lower()
        for extra in {"", *wanted.extras} - {extra for known, extra in seen if known == name}:
            seen.add((name, extra))
            try:
                found[name] = distribution(name)
            except PackageNotFoundError:
                found[name] = None
                continue
            lines = map(Requirement, found[name].requires or ())
            waiting += [str(each) for each in lines if each.marker is None or each.marker.evaluate({"extra": extra})]
    return found


def megabytes(packages: Iterable[Distribution | None]) -> float | None:
    """The size of the packages' files."""
    packages = list(packages)
    if None in packages:
        return None
    paths = (package.locate_file(file) for package in packages for file in package.files or ())
    return sum(path.stat().st_size for path in paths if path.exists()) / 1e6


if __name__ == "__main__":
    sys.exit(main())
