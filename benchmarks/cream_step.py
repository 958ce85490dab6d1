"""What a search step costs beside plain training of the same path, and where it goes.

    python benchmarks/cream_step.py                 digits and ImageNet-like images: a few minutes of one core
    python benchmarks/cream_step.py --case digits

Plain training is forward, backward and optimizer step. A search step adds to it the choice of a
teacher from a full board and the teacher's answers, now and then a meta update, and, as published,
the offer to the board. Each part is timed on the same paths and images, in turns; medians count.
Times are processor times, so that other work on the machine disturbs them little.

Two searches are measured: the default one (all entries of the board have the same held images, and
there is a teacher every second step), and the published one (each entry has images of its own, and
every step has a teacher). Reviews of the board are not part of a step.
"""

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fewshot_nas.cream.board import Board, BoardEntry, share_right
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.flops import Budget, budget_for
from fewshot_nas.cream.teaching import Guidance, Matching, guide, meta_update
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch
from fewshot_nas.space.split import one_shot
from fewshot_nas.training.loop import set_rate
from fewshot_nas.training.step import Lesson, SupernetStep
from fewshot_nas.training.task import Batch, plain_groups, sgd

POOL_SIZE, SLICE = 10, 4


class Case(NamedTuple):
    """Images of a kind, and the bounds that fix the depths."""

    batch: int
    channels: int
    side: int
    classes: int
    mflops: tuple[float, float]


class Way(NamedTuple):
    """How a search teaches: the steps between two with a teacher, and between two meta updates."""

    shares_images: bool
    teach_every: int
    update_every: int

    def every(self, part: str) -> int:
        """The steps between two with this part."""
        return {"meta update": self.update_every, **dict.fromkeys(_TAUGHT, self.teach_every)}.get(part, 1)


_WHOLE = "step with a teacher"
_TAUGHT = ("choose the teacher", "teacher's answers")  # its parts
CASES = {"digits": Case(64, 1, 32, 10, (0, 20)), "imagenet": Case(16, 3, 224, 1000, (0, 600))}
DEFAULT, PUBLISHED = SearchConfig(), Way(False, 1, 200)
WAYS = {"default": Way(True, DEFAULT.TEACH_EVERY, DEFAULT.UPDATE_ITER), "published": PUBLISHED}


class Bench:
    """A supernet, a full board, and each part of a step by its name."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        self.budget: Budget = budget_for(*case.mflops, resolution=case.side)
        space = replace(self.budget.space, in_channels=case.channels, resolution=case.side)
        supernet = Supernet(one_shot(space), case.classes)
        self.supernet: Supernet = supernet.to(memory_format=torch.channels_last)
        self.matching = Matching(SLICE, case.classes)
        self.optimizer = sgd(plain_groups(self.supernet, 4e-5), 0.9)
        set_rate(self.optimizer, 0.01)
        images = torch.randn(case.batch, case.channels, case.side, case.side)
        self.images = images.to(memory_format=torch.channels_last)
        self.labels = torch.randint(case.classes, (case.batch,))
        self.board: Board[Arch] = Board(POOL_SIZE)
        self._rng = random.Random(0)
        while len(self.board) < POOL_SIZE:
            self._offer(self.path(), torch.randn(case.batch, case.classes))

    def path(self) -> Arch:
        """The next one."""
        return self.budget.sample(self._rng)

    def parts(self, path: Arch, way: Way) -> dict[str, Callable[[], object]]:
        """What a step does, in the order in which it is timed."""
        self._show(way)
        logits = torch.randn(len(self.images), self.supernet.num_classes)
        offer = {} if way.shares_images else {"offer to the board": lambda: self._offer(path, logits)}
        return {
            "plain step": lambda: self._step(path, None),
            "sample a path": self.path,
            "choose the teacher": lambda: self._guidance(path),
            "teacher's answers": lambda: self._answers(path),
            "meta update": lambda: self._meta(path),
            **offer,
            _WHOLE: lambda: self._step(path, self._lesson(path)),
        }

    def _show(self, way: Way) -> None:
        """Give all entries the first one's images, or each its own."""
        entries = self.board.entries
        same = torch.randn_like(entries[0].images)
        images = (same if way.shares_images else torch.randn_like(same) for _ in entries)
        self.board.replace([replace(each, images=shown) for each, shown in zip(entries, images, strict=True)])

    def _lesson(self, path: Arch) -> Lesson:
        found = self._guidance(path)
        return Lesson(found.teacher.candidate, found.rho.detach())

    def _guidance(self, path: Arch) -> Guidance[Arch]:
        return guide(self.board, self.matching, lambda images: self.supernet(images, path), "meta")

    def _answers(self, path: Arch) -> Tensor:
        """Of the path itself, for paths differ in cost, and a teacher costs as much as its student on average."""
        with torch.no_grad():
            return self.supernet(self.images, path).softmax(1)  # type: ignore[no-any-return]

    def _meta(self, path: Arch) -> None:
        """With a choice of its own, which a step with a teacher has made already."""
        found, batch = self._guidance(path), Batch(self.images, self.labels, 0)
        teacher, parts = found.teacher.candidate, {"matching": self.matching, "size": SLICE, "rate": 0.01}
        meta_update(self.supernet, path, batch, teacher, found.rho, **parts)  # type: ignore[arg-type]

    def _step(self, path: Arch, lesson: Lesson | None) -> None:
        given: Any = SimpleNamespace(archs=lambda step: [path], lessons=lambda *_: [lesson])
        self.optimizer.zero_grad(set_to_none=True)
        SupernetStep(given, teacher=given).backward(self.supernet, Batch(self.images, self.labels, 0))
        self.optimizer.step()

    def _offer(self, path: Arch, logits: Tensor) -> None:
        kept, accuracy = slice(SLICE), 100 * share_right(logits, self.labels).item()
        images, answers = self.images[kept].clone(), logits[kept].softmax(1)
        self.board.offer(BoardEntry(path, accuracy, self.budget.mflops(path), images, answers))


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    for name in options.case:
        bench = Bench(CASES[name])
        print(f"{name}: {CASES[name].batch} images of {CASES[name].side} px, depths {bench.budget.space.lengths}")
        for way in WAYS:
            _measure(bench, way, options.rounds)


def _measure(bench: Bench, name: str, rounds: int) -> None:
    """Print shares of the plain step of the same path, the medians of some rounds."""
    way, shares, plain = WAYS[name], dict[str, list[float]](), []
    for _ in range(rounds + 1):
        parts = {part: _processor_s(work) for part, work in bench.parts(bench.path(), way).items()}
        plain.append(parts.pop("plain step"))
        for part, each in parts.items():
            shares.setdefault(part, []).append(100 * each / plain[-1])
    found = {part: median(each[1:]) for part, each in shares.items()}  # the first round warms up
    whole = (found.pop(_WHOLE) - 100) / way.teach_every
    whole += sum(each / way.every(part) for part, each in found.items() if part not in _TAUGHT)
    print(f"  {name}: a search step costs {1 + whole / 100:.2f} plain steps of {1000 * median(plain[1:]):.0f} ms")
    for part, each in found.items():
        every = way.every(part)
        note = f", every {every} steps: {each / every:4.1f} %" if every > 1 else ""
        print(f"    {part:20}{each:6.1f} %{note}")


def _processor_s(work: Callable[[], object]) -> float:
    """Processor time of one call, of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=9, help="of each part (default 9)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    return parser


if __name__ == "__main__":
    main()
