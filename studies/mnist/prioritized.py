"""Trains a one-shot supernet with prioritized nets as teachers, in addition to the largest net of the sandwich rule.

    python -m studies.mnist.prioritized --config FILE --save NAME training.extremes=space

The options are those of `train_supernet`.
In Cream of the Crop (arXiv:2010.15821), the best paths found so far teach the sampled ones. Here the
teachers are nets of a ResNet supernet. The most accurate nets are mostly the largest ones, so an
ordinary board would hold near-copies of the largest net. Therefore each range of MACs has its own
place on the board.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run
from fewshot_nas.cream.board import Board, BoardEntry
from fewshot_nas.data.images import Images, split_off
from fewshot_nas.distributed import World, gathered, joined
from fewshot_nas.evaluation.inputs import Inputs, sums
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.results.run import ONE_SHOT, phase_directory
from fewshot_nas.running.life import Begun
from fewshot_nas.running.options import add_run_options, run_config
from fewshot_nas.running.run import Run, seed_weights
from fewshot_nas.running.supernets import SupernetTraining
from fewshot_nas.space.space import Arch, Options, Space
from fewshot_nas.space.split import by_width
from fewshot_nas.training.step import Lesson
from fewshot_nas.training.supernet_task import SupernetTask
from fewshot_nas.training.task import Batch
from studies.remembering import RememberingTask

BUCKETS = 8  # ranges of MACs
REVIEW_STEPS = 32  # steps between two reviews of the board
HELD_IMAGES = 256
HELD_SHARE = 8  # at most one of so many training images is held out


class TeacherBoard:
    """The largest net, which always stays, and the most accurate net found in each range of MACs.

    The `BUCKETS` ranges have the same width and cover the space from the smallest net to the largest.
    A candidate is stored as its code, because a checkpoint can only hold plain values.
    """

    def __init__(self, space: Space, num_classes: int, options: Options) -> None:
        self._space, self._num_classes = space, num_classes
        self._low, self._high = (self._macs(space.extreme(options, largest=end)) for end in (False, True))
        self._pinned: Board[str] = Board(1)
        self._buckets: list[Board[str]] = [Board(1, gap=0.0) for _ in range(BUCKETS)]
        self.offer(space.largest, 0.0)

    @property
    def entries(self) -> tuple[BoardEntry[str], ...]:
        """The largest net, then the others, from few MACs to many."""
        return tuple(entry for board in (self._pinned, *self._buckets) for entry in board.entries)

    @property
    def archs(self) -> list[Arch]:
        """The archs of the entries, in their order."""
        return [self._space.decode(entry.candidate) for entry in self.entries]

    def offer(self, arch: Arch, accuracy: float) -> None:
        """Add a net if it beats the net of its range; a net that is already on the board gets its new accuracy.

        Args:
            accuracy: in percent.
        """
        macs = self._macs(arch)
        board = self._pinned if arch == self._space.largest else self._buckets[self._bucket(macs)]
        board.offer(BoardEntry(self._space.encode(arch), accuracy, macs))

    def teacher(self, student: Arch) -> Arch:
        """The most accurate net that has more MACs than the student, so that no net teaches itself.

        If the largest net is as accurate as any other, it teaches, because its answers are available
        anyway. If other nets are equally accurate, the cheapest teaches.
        """
        macs = self._macs(student)
        first, *others = self.entries
        able = [entry for entry in others if entry.cost > macs]
        return self._space.decode(max([first, *able], key=lambda entry: entry.accuracy).candidate)

    def state_dict(self) -> dict[str, Any]:
        """All entries, as plain values and tensors."""
        return {"boards": [board.state_dict() for board in (self._pinned, *self._buckets)]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        for board, entries in zip((self._pinned, *self._buckets), state["boards"], strict=True):
            board.load_state_dict(entries)

    def _macs(self, arch: Arch) -> int:
        return self._space.cost(arch, num_classes=self._num_classes).macs

    def _bucket(self, macs: int) -> int:
        number = BUCKETS * (macs - self._low) // max(1, self._high - self._low)  # nets may all cost the same
        return min(max(number, 0), BUCKETS - 1)


@dataclass(frozen=True)
class Prioritized:
    """Chooses the teachers of a step, and reviews the board regularly.

    Attributes:
        held: held-out training images, on which nets are scored in a single batch.
    """

    board: TeacherBoard
    held: Inputs
    world: World

    def lessons(self, supernet: Supernet, archs: Sequence[Arch], batch: Batch) -> Sequence[Lesson | None]:
        """The board's teacher for each arch but the first. Every `REVIEW_STEPS` steps, the board is reviewed before."""
        if batch.step % REVIEW_STEPS == 0:
            self.review(supernet, archs[1:-1])
        return [None, *(Lesson(self.board.teacher(arch)) for arch in archs[1:])]

    def review(self, supernet: Supernet, newcomers: Iterable[Arch]) -> None:
        """Score the nets of the board and the newcomers with the present weights, and offer them to the board.

        Each net is scored on one process. All processes get all scores, so their boards are the same.
        """
        archs = list(dict.fromkeys([*self.board.archs, *newcomers]))
        scores: dict[Arch, float] = {}
        for part in gathered({arch: self._top1(supernet, arch) for arch in self._mine(archs)}, self.world):
            scores |= part
        for arch in archs:
            self.board.offer(arch, scores[arch])

    def _mine(self, archs: Sequence[Arch]) -> Sequence[Arch]:
        return archs[self.world.rank :: self.world.size]

    @torch.no_grad()
    def _top1(self, supernet: Supernet, arch: Arch) -> float:
        """Top-1 accuracy in percent; as in training, batch norms use the statistics of the batch."""
        ((images, labels),) = self.held.scoring_batches()
        with self.held.autocast():
            first, *_ = sums(supernet(images, arch), labels).tolist()
        return float(100 * first / len(labels))


def held_out(images: Images) -> tuple[Images, Images]:
    """The images to train on, and those held out to score the board on; always the same."""
    return split_off(images, max(2, min(HELD_IMAGES, len(images) // HELD_SHARE)))  # a single image gives no statistics


class PrioritizedTraining(SupernetTraining):
    """Trains a supernet whose best nets teach; the images that they are scored on are not trained on."""

    def begin(self) -> Begun[SupernetTask]:
        (task, source, schedule), run = super().begin(), self.run
        left, held = held_out(run.data.train)
        board = TeacherBoard(run.space, task.network.num_classes, task.options)
        teacher = Prioritized(board, replace(run.inputs(held), batch=len(held)), run.world)
        task.step = replace(task.step, teacher=teacher)
        return Begun(RememberingTask(**vars(task), memory={"board": board}), replace(source, images=left), schedule)


def main(argv: Sequence[str] | None = None) -> int:
    """Train phase 1 of a run, into results/<save>/."""
    parser = Parser(prog="studies.mnist.prioritized", description=(__doc__ or "").splitlines()[0])
    add_run_options(parser)
    options = parser.parse_intermixed_args(argv)
    config = run_config(options)
    if config.training.extremes != "space":  # the largest net is always on the board, so every step has to train it
        raise InputError(f"training.extremes is {config.training.extremes}, expected space for prioritized teachers")
    with joined(options.device, config.run) as world:
        here = Run.asked(options, config, world)

        def start() -> Supernet:
            seed_weights(config.run.seed)
            return Supernet(by_width(here.space, 1), here.data.num_classes)

        home, facts = phase_directory(options.save, ONE_SHOT), {"teachers": "prioritized"}
        PrioritizedTraining(run=here, directory=home, settings=config.training, start=start, facts=facts).carry_out()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
