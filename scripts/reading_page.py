"""Writes the lists in docs/reading.md: the files that a training step and the scoring of an arch pass through.

python scripts/reading_page.py            runs both on the digits, and writes the lists
python scripts/reading_page.py --check    fails if the page has other lists

A file is in a list if one of its functions is called. Values that are only read (settings, named tuples) are not
counted, nor is what torch, numpy and Python themselves run.
"""

import ast
import inspect
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import fewshot_nas
from fewshot_nas import train_supernet
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.training.loop import Loop

PAGE = Path(__file__).parents[1] / "docs" / "reading.md"
PACKAGE = Path(fewshot_nas.__file__).parent
STEP, SCORE = "A training step", "Scoring one arch"
# Two steps, no arch to validate: only the steps are looked at.
_SMALL = ["data.train_images=40", "training.batch_size=20", "data.valid_images=40", "evaluation.calibration_images=20"]


@contextmanager
def noted(kind: type, name: str) -> Iterator[list[str]]:
    """A list that gets the files that a method of a class passes through while the context lasts, in order."""
    files: list[str] = []
    method = getattr(kind, name)

    def note(frame: FrameType, event: str, _: object) -> None:
        # Modules and bodies of classes run once, when they are imported; only functions have this flag.
        if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            path = Path(frame.f_code.co_filename)
            if PACKAGE in path.parents and (own := path.relative_to(PACKAGE).as_posix()) not in files:
                files.append(own)

    def profiled(*arguments: Any) -> Any:
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            return method(*arguments)
        finally:
            sys.setprofile(before)

    with patch.object(kind, name, profiled):
        yield files


def lists() -> dict[str, list[str]]:
    """The files of a step, with its batch and its part of the loop, and of a score; both on the digits."""
    arch = fewshot_nas.random_arch("px8")
    train = ["--save=read", "--device=cpu", "training.epochs=1", *_SMALL]
    with _scratch(), redirect_stdout(StringIO()):
        with noted(Loop, "_epoch") as step:
            train_supernet.main(train)
        with noted(Scorer, "scores") as score:
            fewshot_nas.score("results/read/supernet.pth", [arch], device="cpu")
    return {STEP: step, SCORE: score}


@contextmanager
def _scratch() -> Iterator[None]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        try:
            yield
        finally:
            os.chdir(before)


def page(text: str) -> str:
    """The page's text with the lists of now; a file is described once."""
    known: set[str] = set()
    for title, files in lists().items():
        rows = "".join(f"| `{name}` | {'above' if name in known else _summary(PACKAGE / name)} |\n" for name in files)
        known |= {*files}
        table = f"### {title}: {len(files)} files\n\n| file | |\n|---|---|\n{rows}"
        text, count = re.subn(rf"### {title}: \d+ files\n\n(\|.*\n)+", lambda _: table, text)  # noqa: B023
        assert count == 1, f"{PAGE} has {count} lists of {title!r}"
    return text


def _summary(path: Path) -> str:
    """The first sentence of a module's docstring."""
    described = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return described.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the lists, or compare them."""
    before = PAGE.read_text(encoding="utf-8")
    now = page(before)
    if (sys.argv[1:] if argv is None else argv) == ["--check"]:
        # In whatever order: a call that moves up changes nothing for a reader.
        if sorted(now.splitlines()) == sorted(before.splitlines()):
            return 0
        print(
            f"{PAGE}: has other lists than the code; python scripts/{Path(__file__).name} writes them", file=sys.stderr
        )
        return 1
    PAGE.write_text(now, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
