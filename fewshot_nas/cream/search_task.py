"""The search: each step trains one path of the supernet, and the board remembers the best."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fewshot_nas.cream.board_keeping import BoardKeeping, Trained
from fewshot_nas.cream.flops import PRIOR, Budget
from fewshot_nas.cream.matching import Guidance, Matching
from fewshot_nas.cream.step import Teaching, guidance_for, meta_update, search_loss, share_right
from fewshot_nas.distributed import World, average_gradients
from fewshot_nas.evaluation.accuracy import Accuracy, guessing
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.inherit import inherit
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import write_json
from fewshot_nas.records.jsonl import Record
from fewshot_nas.running.run import placed
from fewshot_nas.space.space import Arch
from fewshot_nas.space.split import one_shot, split_of
from fewshot_nas.training.board import Board, BoardEntry


@dataclass(frozen=True)
class PathSampler:
    """Draws the path of a step. It depends on seed and step only, so all processes draw the same path."""

    seed: int
    budget: Budget
    probabilities: Sequence[float] = PRIOR

    def path(self, step: int) -> Arch:
        """The path of a step, within the budget's bounds."""
        return self.budget.sample(random.Random(f"{self.seed}/path/{step}"), self.probabilities)


@dataclass(frozen=True)
class Pace:
    """The steps of an epoch, and the learning rate of each step.

    Attributes:
        shared: so many steps at the beginning train weights that all choices of a block share.
    """

    per_epoch: int
    rate: Callable[[int], float]
    shared: int = 0


@dataclass(kw_only=True)
class SearchTask:
    """A search, for `Loop`.

    Attributes:
        network: its split is `shared` at first if choices share weights at the beginning, and then `one_shot`.
        optimizer_of: makes the optimizer of a supernet.
        matching_optimizer: the optimizer of the matching network.
        board_file: where the board is written after each epoch.
        due: epochs, counted from 0, after which the best path is validated on `inputs`.
    """

    network: Supernet
    optimizer_of: Callable[[Supernet], torch.optim.Optimizer]
    matching: Matching
    matching_optimizer: torch.optim.Optimizer
    board: Board[Arch]
    sampler: PathSampler
    teaching: Teaching
    pace: Pace
    keeping: BoardKeeping
    inputs: Inputs
    due: frozenset[int]
    board_file: Path
    world: World
    precision: Literal["fp32", "bf16"] = "fp32"
    loss_names: tuple[str, ...] = ("path",)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = self.optimizer_of(self.network)

    def backward(self, images: Tensor, labels: Tensor, step: int) -> Tensor:
        """Add the gradients of the step's path; then train the matching network, and offer the path to the board.

        Its accuracy on the batch follows the loss in what is returned.
        """
        epoch, batch = step // self.pace.per_epoch + 1, step % self.pace.per_epoch
        path = self.sampler.path(step)
        if epoch > self.teaching.start_epoch:
            self.keeping.apply_pending(share=self.teaching.pick == "meta")
        teaches, updates = (due(epoch, self.board, batch) for due in (self.teaching.teaches, self.teaching.updates))
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            guidance = self._guidance(path) if teaches or updates else None
            teacher = guidance if teaches else None
            outcome = search_loss(self.network, path, images, labels, teacher, self.teaching.smoothing)
            outcome.loss.backward()  # type: ignore[no-untyped-call]
            if guidance and updates:
                self._learn_to_match(path, images, labels, guidance, self.pace.rate(step))
        logits = outcome.logits.detach().float()
        numbers = torch.stack([outcome.loss.detach(), share_right(logits, labels)])
        if step >= self.pace.shared:
            self.keeping.after_step(Trained(step, path, self.network, images, logits, numbers[1]))
        return numbers

    def culprit(self, loss: int, step: int) -> str:
        """The path."""
        return f"path {self.network.space.encode(self.sampler.path(step))}"

    def end_epoch(self, epoch: int) -> Record:
        """Write the board, and validate the best path if there is one and it is due.

        After the last epoch in which choices share weights, each gets a copy of its part.
        """
        self.keeping.apply_pending()
        entries = [self._described(entry) for entry in self.board.entries]
        record: Record = {"board": {"paths": len(entries), "measure": self.keeping.measure, "entries": entries}}
        if self.world.is_rank0:
            write_json(self.board_file, {"epoch": epoch, "board": entries})
            if epoch in self.due and entries:
                best = self.best().candidate
                record |= {"top1": {"best": self.validated(best).top1}, "path": self.network.space.encode(best)}
                record["guessing"] = guessing(self.inputs.labels)
        if (epoch + 1) * self.pace.per_epoch == self.pace.shared:
            self._separate()
        return record

    def _separate(self) -> None:
        """Give every choice weights of its own. Momentum begins anew."""
        parent = self.network
        self.network = placed(inherit(parent, one_shot(parent.space)), self.world)
        self.network.trained_on = parent.trained_on
        self.optimizer = self.optimizer_of(self.network)

    def best(self) -> BoardEntry[Arch]:
        """The best entry of the board, which must not be empty."""
        self.keeping.apply_pending()
        return self.board.entries[0]

    def validated(self, path: Arch) -> Accuracy:
        """The accuracy of a path with the supernet's weights and with its own batch norm statistics."""
        return Scorer(self.network, self.inputs).scores([path])[0]

    def save(self, path: Path, state: Mapping[str, Any]) -> None:
        """Write a supernet file with the matching network, both optimizers and the board."""
        self.keeping.apply_pending()
        more = {name: part.state_dict() for name, part in self._state().items()}
        save_supernet(path, self.network, {**more, **state})

    def restore(self, content: Mapping[str, Any]) -> None:
        """Restore the state that `save` wrote."""
        if split_of(self.network.space, content) != self.network.split:
            self._separate()
        self.network.load_state_dict(content["model"])
        for name, part in self._state().items():
            part.load_state_dict(content[name])
        self.keeping.restart()

    def _guidance(self, path: Arch) -> Guidance[Arch]:
        return guidance_for(self.network, path, self.board, self.matching, self.teaching.pick)

    def _state(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer,
            "matching": self.matching,
            "judge": self.matching_optimizer,
            "board": self.board,
        }

    def _learn_to_match(
        self, path: Arch, images: Tensor, labels: Tensor, guidance: Guidance[Arch], rate: float
    ) -> None:
        size, parameters = self.teaching.slice, list(self.matching.parameters())
        meta_update(self.network, path, images, labels, guidance=guidance, matching=self.matching, size=size, rate=rate)
        average_gradients(parameters, self.world, parameters[0].new_zeros(0))
        self.matching_optimizer.step()
        self.matching_optimizer.zero_grad(set_to_none=True)

    def _described(self, entry: BoardEntry[Arch]) -> dict[str, Any]:
        code = self.network.space.encode(entry.candidate)
        return {"INPUT_ARCH": code, self.keeping.measure: entry.accuracy, "mflops": entry.cost}
