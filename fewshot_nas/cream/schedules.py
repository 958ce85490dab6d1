"""The learning rates of the search and of the retraining, step by step."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from timm.scheduler.scheduler_factory import create_scheduler_v2

from fewshot_nas.training.loop import Schedule


@dataclass(frozen=True)
class SearchSchedule(Schedule):
    """The learning rate falls linearly, and would be 0 at the step after the last."""

    def rate(self, per_epoch: int) -> Callable[[int], float]:
        """The learning rate of each step."""
        total = self.epochs * per_epoch
        return lambda step: self.lr * (1 - step / total)


@dataclass(frozen=True)
class RetrainSchedule(Schedule):
    """timm's cosine schedule, updated at every step: it begins with a warm-up and is followed by a cool-down.

    Attributes:
        cooldown_epochs: the last epochs, at `min_lr`; `epochs` includes them.
    """

    warmup_lr: float
    min_lr: float
    cooldown_epochs: int

    def rate(self, per_epoch: int) -> Callable[[int], float]:
        """The learning rate of each step."""
        # timm's schedulers write the rate into an optimizer. It depends on the step only, so any optimizer will do.
        carrier = torch.optim.SGD([torch.zeros(1)], lr=self.lr)
        scheduler, _ = create_scheduler_v2(
            carrier,
            sched="cosine",
            num_epochs=self.epochs - self.cooldown_epochs,
            warmup_epochs=self.warmup_epochs,
            cooldown_epochs=self.cooldown_epochs,
            warmup_lr=self.warmup_lr,
            min_lr=self.min_lr,
            step_on_epochs=False,
            updates_per_epoch=per_epoch,
        )

        def rate(step: int) -> float:
            scheduler.step_update(step)
            return float(carrier.param_groups[0]["lr"])

        return rate
