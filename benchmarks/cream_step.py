"""What a search step costs beside plain training of the same path, and where it goes.

    python benchmarks/cream_step.py                 digits and ImageNet-like images: a few minutes on 2 cores
    python benchmarks/cream_step.py --case digits

Plain training is forward, backward and optimizer step. A search step adds to it the choice of a
teacher from a full board, the teacher's answers, now and then a meta update, and the offer to
the board. Each part is timed on the same paths and images, in turns; medians count.
"""

import argparse
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import NamedTuple

import torch
import torch.nn.functional as F
from machine import duration_s
from torch import Tensor

from fewshot_nas.cream.flops import Budget, depths_for
from fewshot_nas.cream.matching import Guidance, Matching
from fewshot_nas.cream.paths import CreamPath
from fewshot_nas.cream.step import (
    Teaching,
    entry_for,
    guidance_for,
    guided_loss,
    meta_update,
    share_right,
    teacher_probabilities,
)
from fewshot_nas.cream.supernet import CreamSupernet
from fewshot_nas.training.board import Board
from fewshot_nas.training.optimizer import plain_groups, set_rate, sgd

POOL_SIZE = 10


class Case(NamedTuple):
    """Images of a kind, and the bounds that fix the depths."""

    batch: int
    channels: int
    side: int
    classes: int
    mflops: tuple[float, float]


CASES = {"digits": Case(64, 1, 32, 10, (0, 20)), "imagenet": Case(16, 3, 224, 1000, (0, 600))}


class Bench:
    """A supernet, a full board, and each part of a step by its name."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        self.teaching = Teaching(start_epoch=0)
        self.budget: Budget = depths_for(*case.mflops, resolution=case.side)
        supernet = CreamSupernet(self.budget.depths, case.classes, case.channels)
        self.supernet: CreamSupernet = supernet.to(memory_format=torch.channels_last)
        self.matching = Matching(self.teaching.slice, case.classes)
        self.optimizer = sgd(plain_groups(self.supernet, 4e-5), 0.9)
        set_rate(self.optimizer, 0.01)
        images = torch.randn(case.batch, case.channels, case.side, case.side)
        self.images = images.to(memory_format=torch.channels_last)
        self.labels = torch.randint(case.classes, (case.batch,))
        self.board: Board[CreamPath] = Board(POOL_SIZE)
        self._rng = random.Random(0)
        while len(self.board) < POOL_SIZE:
            self._offer(self.path(), torch.randn(case.batch, case.classes))

    def path(self) -> CreamPath:
        """The next one."""
        return self.budget.sample(self._rng)

    def parts(self, path: CreamPath) -> dict[str, Callable[[], object]]:
        """What a step does, in the order in which it is timed."""
        logits = torch.randn(len(self.images), self.supernet.num_classes)
        meta = partial(meta_update, board=self.board, matching=self.matching, teaching=self.teaching, rate=0.01)
        return {
            "sample a path": self.path,
            "plain step": lambda: self._plain(path),
            "choose the teacher": lambda: self._guidance(path),
            "teacher's answers": lambda: teacher_probabilities(
                self.supernet, self.board.entries[0].candidate, self.images
            ),
            "meta update": lambda: meta(self.supernet, path, self.images, self.labels),
            "offer to the board": lambda: self._offer(path, logits),
            "whole search step": lambda: self._taught(path),
        }

    def _plain(self, path: CreamPath) -> None:
        self._step(F.cross_entropy(self.supernet(self.images, path), self.labels))

    def _taught(self, path: CreamPath) -> None:
        """All but the meta update, which most steps do without."""
        logits = self.supernet(self.images, path)
        guidance = self._guidance(path)
        taught = teacher_probabilities(self.supernet, guidance.teacher.candidate, self.images)
        self._step(guided_loss(logits, self.labels, taught, guidance.rho, self.teaching.smoothing))
        self._offer(path, logits)

    def _guidance(self, path: CreamPath) -> Guidance[CreamPath]:
        return guidance_for(self.supernet, path, self.board, self.matching, "meta")

    def _step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _offer(self, path: CreamPath, logits: Tensor) -> None:
        entry = entry_for(path, self.budget.mflops(path), self.images, logits, self.teaching.slice)
        self.board.offer(replace(entry, accuracy=100 * share_right(logits, self.labels).item()))


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    for name in options.case:
        _measure(name, options.rounds, options.every)


def _measure(name: str, rounds: int, every: int) -> None:
    case = CASES[name]
    bench = Bench(case)
    times: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        for part, work in bench.parts(bench.path()).items():
            times.setdefault(part, []).append(1000 * duration_s(work))
    ms = {part: median(each[1:]) for part, each in times.items()}  # the first round warms up
    plain, whole = ms.pop("plain step"), ms.pop("whole search step")
    ms["meta update"] /= every
    step = whole + ms["meta update"] + ms["sample a path"]
    print(f"{name}: {case.batch} images of {case.side} px, depths {bench.budget.depths}")
    print(f"  plain step   {plain:8.1f} ms")
    print(f"  search step  {step:8.1f} ms, {step / plain:.2f} times as much; beyond the plain step:")
    for part, each in ms.items():
        shared = f" (its {each * every:.0f} ms shared by {every} steps)" if part == "meta update" else ""
        print(f"    {part:20}{each:8.1f} ms  {100 * each / plain:5.1f} %{shared}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=9, help="of each part (default 9)")
    parser.add_argument("--every", type=int, default=200, help="steps between two meta updates (default 200)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    return parser


if __name__ == "__main__":
    main()
