"""Training one subnet from scratch, and gathering many such runs into a ground truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.evaluation.accuracy import guessing
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import calibrate, measure
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.records.files import locked, read_json, replacing, write_json
from fewshot_nas.records.jsonl import Record
from fewshot_nas.space.pool import write_codes
from fewshot_nas.training.loop import Batch, Trained

# In a running statistic each step counts 0.9 of the next one, so its first value, which no image was seen for, still
# counts 18 % after 16 steps, and half a percent after 50.
STEADY_STEPS = 50


def learn(network: nn.Module, batch: Batch, smoothing: float, precision: Literal["fp32", "bf16"]) -> Trained:
    """Add the gradients of a batch's cross-entropy to a network's parameters."""
    network.train()
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits = network(batch.images) if batch.share is None else network(batch.images, batch.share)
    loss = F.cross_entropy(logits.float(), batch.labels, label_smoothing=smoothing)
    loss.backward()  # type: ignore[no-untyped-call]
    return Trained(loss.detach()[None])


@dataclass
class StandAloneTask:
    """One subnet, for `Loop`.

    Attributes:
        valid, test: images to rank on and to test on.
        calibrates: whether batch norms are calibrated before the network is measured, as those of a training of fewer
            than `STEADY_STEPS` steps have to be; otherwise they have the running statistics of the training.
        watched: whether it is measured after each epoch, and not in the end only.
    """

    network: Subnet
    optimizer: torch.optim.Optimizer
    code: str
    label_smoothing: float
    valid: Inputs
    test: Inputs
    precision: Literal["fp32", "bf16"] = "fp32"
    calibrates: bool = False
    watched: bool = False
    loss_names: tuple[str, ...] = ("arch",)

    def backward(self, batch: Batch) -> Trained:
        """Add the gradients of the cross-entropy."""
        return learn(self.network, batch, self.label_smoothing, self.precision)

    def after_backward(self, batch: Batch, trained: Trained, means: Tensor) -> None:
        """Nothing is left to do."""

    def culprit(self, loss: int, step: int) -> str:
        """The arch."""
        return f"arch {self.code}"

    def end_epoch(self, epoch: int) -> Record:
        """Accuracy on the validation images, in percent, if the network is watched."""
        if not self.watched:
            return {}
        return {"top1": {"arch": self.measured()[0]}, "guessing": guessing(self.valid.labels)}

    def measured(self, *parts: Inputs) -> list[float]:
        """The present accuracy of the network in percent, on the validation images or on each of the parts."""
        if self.calibrates:
            with self.valid.autocast():
                calibrate(self.network, self.valid.calibration_batches())
        self.network.eval()
        return [measure(self.network, inputs).top1 for inputs in parts or (self.valid,)]

    def save(self, path: Path, state: Mapping[str, Any]) -> None:
        """Write the weights and the optimizer's state."""
        with replacing(path) as stream:
            torch.save({"model": self.network.state_dict(), "optimizer": self.optimizer.state_dict(), **state}, stream)

    def restore(self, content: Mapping[str, Any]) -> None:
        """Restore the state that `save` wrote."""
        self.network.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])


@dataclass(frozen=True)
class StandAloneResult:
    """The result of one run: accuracies in percent on the ranking images and on the test images.

    Attributes:
        recipe: digest of everything that the result depends on besides arch and seed.
    """

    arch_id: str
    code: str
    seed: int
    recipe: str
    valid: float
    test: float


class GroundTruth:
    """A ground-truth file, and the results of all its runs beside it, `<file>.runs/<arch>_seed<n>.json`.

    After each run the file is written again from all runs, under a lock, so that any number of
    processes can add to it. Its accuracies are means over seeds on the ranking images. The means on
    the test images are in `<name>_test.json`.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.runs = path, path.with_suffix(".runs")

    def has(self, arch_id: str, seed: int) -> bool:
        """Whether the result of this run exists."""
        return self._run(arch_id, seed).exists()

    def refuse_others(self, recipe: str, arch_id: str, code: str) -> None:
        """Refuse to mix runs that were trained differently, because their means could not be compared.

        Raises:
            InputError: a run has another recipe, or the id stands for another arch.
        """
        for run in self.results():
            path = self._run(run.arch_id, run.seed)
            if run.recipe != recipe:
                raise InputError(
                    f"{path}: was trained with other settings, images or number of processes than now;"
                    " use the old ones, or choose another --ground_truth"
                )
            if run.arch_id == arch_id and run.code != code:
                raise InputError(f"{path}: {arch_id} is {run.code} there, expected {code}; is it of another pool?")

    def add(self, result: StandAloneResult) -> None:
        """Store the result of a run and write the two files again."""
        write_json(self._run(result.arch_id, result.seed), vars(result))
        with locked(self.runs / ".lock", wait=True):
            results = self.results()
            write_codes(self.path, _means(results, "valid"))
            write_codes(self.path.with_stem(f"{self.path.stem}_test"), _means(results, "test"))

    def results(self) -> list[StandAloneResult]:
        """All runs, ordered by arch number and seed.

        Raises:
            InputError: a run's file is malformed.
        """
        return sorted((_read(path) for path in self.runs.glob("*_seed*.json")), key=_order)

    def _run(self, arch_id: str, seed: int) -> Path:
        return self.runs / f"{arch_id}_seed{seed}.json"


def _read(path: Path) -> StandAloneResult:
    try:
        return StandAloneResult(**read_json(path))
    except TypeError:
        raise InputError(f"{path}: is not the result of a stand-alone training; delete it and train again") from None


def _order(result: StandAloneResult) -> tuple[int, str, int]:
    digits = result.arch_id.removeprefix("arch")
    return int(digits) if digits.isdigit() else 0, result.arch_id, result.seed


def _means(results: list[StandAloneResult], split: str) -> dict[str, tuple[float, str]]:
    gathered: dict[str, list[StandAloneResult]] = {}
    for result in results:
        gathered.setdefault(result.arch_id, []).append(result)
    return {
        arch_id: (round(sum(getattr(run, split) for run in runs) / len(runs), 6), runs[0].code)
        for arch_id, runs in gathered.items()
    }
