"""Training a path's network from scratch, with a moving average of its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor

from fewshot_nas.evaluation.accuracy import guessing
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import calibrate, measure
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.records.files import replacing
from fewshot_nas.records.jsonl import Record
from fewshot_nas.training.loop import Batch, Trained
from fewshot_nas.training.stand_alone import learn


@dataclass
class RetrainTask:
    """One network, for `Loop`.

    Attributes:
        average: the moving average of the network's weights, updated after each optimizer step.
        inputs: images to validate on. If there are calibration images too, batch norms of the average are calibrated on
            them before, because those of a short training have seen too little.
        due: epochs, counted from 0, after which the average is validated.
    """

    network: Subnet
    average: ModelEmaV3
    optimizer: torch.optim.Optimizer
    inputs: Inputs
    due: frozenset[int]
    smoothing: float
    precision: Literal["fp32", "bf16"] = "fp32"
    loss_names: tuple[str, ...] = ("network",)

    def __post_init__(self) -> None:
        self.optimizer.register_step_post_hook(lambda *_: self.average.update(self.network))

    def backward(self, batch: Batch) -> Trained:
        """Add the gradients of the cross-entropy."""
        return learn(self.network, batch, self.smoothing, self.precision)

    def after_backward(self, batch: Batch, trained: Trained, means: Tensor) -> None:
        """Nothing is left to do."""

    def culprit(self, loss: int, step: int) -> str:
        """The network; there is only one."""
        return "the network"

    def end_epoch(self, epoch: int) -> Record:
        """Measure the averaged weights, which become the result."""
        if epoch not in self.due:
            return {}
        if len(self.inputs.calibration):
            with self.inputs.autocast():
                calibrate(self.average.module, self.inputs.calibration_batches())
        found = measure(self.average.module, self.inputs).top1
        return {"top1": {"ema": found}, "guessing": guessing(self.inputs.labels)}

    def save(self, path: Path, state: Mapping[str, Any]) -> None:
        """Write the weights, their average and the optimizer's state."""
        parts = {"model": self.network, "average": self.average.module, "optimizer": self.optimizer}
        with replacing(path) as stream:
            torch.save({**{name: part.state_dict() for name, part in parts.items()}, **state}, stream)

    def restore(self, content: Mapping[str, Any]) -> None:
        """Restore the state that `save` wrote."""
        self.network.load_state_dict(content["model"])
        self.average.module.load_state_dict(content["average"])
        self.optimizer.load_state_dict(content["optimizer"])
