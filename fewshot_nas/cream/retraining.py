"""Training a path's network from scratch, as published: its recipe, its moving average, and what is kept of it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from timm.optim.rmsprop_tf import RMSpropTF
from timm.utils.model_ema import ModelEmaV3

from fewshot_nas.cli.names import command_line
from fewshot_nas.cream.config import RetrainConfig
from fewshot_nas.cream.model import Model
from fewshot_nas.cream.runs import CreamRun, save_child
from fewshot_nas.models.checkpoint import save_subnet
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.results.directories import RetrainDirectory
from fewshot_nas.running.images import trained_on
from fewshot_nas.running.life import Begun, Training
from fewshot_nas.running.run import placed, seed_weights
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.loop import Schedule
from fewshot_nas.training.task import STEADY_STEPS, Learning, NetworkTask, plain_groups

_CALIBRATION_IMAGES = 256
_FIRST_WEIGHTS = 0.01  # share of the first weights in the average, from which on they are felt


@dataclass(frozen=True)
class RetrainSchedule(Schedule):
    """timm's cosine schedule, updated at every step: its first steps are a warm-up, and a cool-down follows.

    Attributes:
        cooldown_epochs: the last epochs, at `min_lr`; `epochs` includes them.
    """

    warmup_lr: float
    min_lr: float
    cooldown_epochs: int

    def rate(self, per_epoch: int) -> Callable[[int], float]:
        warmup, annealed = self.warmup_epochs * per_epoch, (self.epochs - self.cooldown_epochs) * per_epoch

        def rate(step: int) -> float:
            if step < warmup:
                return self.warmup_lr + step * ((self.lr - self.warmup_lr) / warmup)
            if step >= annealed:
                return self.min_lr
            return self.min_lr + 0.5 * (self.lr - self.min_lr) * (1 + math.cos(math.pi * step / annealed))

        return rate


@dataclass(frozen=True, kw_only=True)
class RetrainRun(CreamRun):
    """A run that trains networks from scratch."""

    config: RetrainConfig

    @property
    def epochs(self) -> int:
        """All epochs, the cool-down's among them."""
        return self.config.EPOCHS + self.config.COOLDOWN_EPOCHS

    @property
    def first_weights(self) -> float:
        """The share of the first weights in the average at the end."""
        return float(self.config.EMA_DECAY ** (self.epochs * self.per_epoch))

    @property
    def calibration(self) -> int:
        """A short training's average has running statistics that are mostly of its first weights, or of no image."""
        steady = self.epochs * self.per_epoch >= STEADY_STEPS and self.first_weights <= _FIRST_WEIGHTS
        return 0 if steady else _CALIBRATION_IMAGES

    def surprises(self) -> Iterator[str]:
        """What may surprise: epochs beyond EPOCHS, and an average that is still the first weights."""
        config, steps = self.config, self.epochs * self.per_epoch
        if config.COOLDOWN_EPOCHS:
            yield f"{config.EPOCHS} epochs, and {config.COOLDOWN_EPOCHS} more at the rate MIN_LR (COOLDOWN_EPOCHS)"
        if self.first_weights > _FIRST_WEIGHTS:
            most = _FIRST_WEIGHTS ** (1 / steps)
            yield (
                f"EMA_DECAY is {config.EMA_DECAY}: after {steps} steps {100 * self.first_weights:.0f} % of the averaged"
                f" weights, which are the result, are those of the beginning; at most {most:.4g} suits so few steps"
            )


@dataclass(frozen=True, kw_only=True)
class Retraining(Training[NetworkTask]):
    """A published model, or a path that was found, by the published recipe; its network is kept in that format, too."""

    run: RetrainRun
    directory: RetrainDirectory
    model: Model

    @cached_property
    def manifest(self) -> dict[str, Any]:
        calibrated = {"statistics": "calibrated"} if self.run.calibration else {}
        return self.run.manifest({"path": self.model.code, "resolution": self.run.config.resolution, **calibrated})

    def begin(self) -> Begun[NetworkTask]:
        """A network with first weights that depend on the seed alone, and its recipe."""
        run, config = self.run, self.run.config
        seed_weights(config.run.seed)
        space = self.model.on(len(run.data.mean))
        network = placed(Subnet(space, self.model.arch, run.data.num_classes), run.world)
        network.head.dropout = config.DROPOUT
        optimizer = RMSpropTF(plain_groups(network, config.WEIGHT_DECAY), alpha=0.9, eps=1e-3, momentum=0.9)
        task = NetworkTask(
            network=network,
            optimizer=optimizer,
            step=Learning(config.SMOOTHING, config.run.precision, names=("network",)),
            valid=run.valid,
            calibrates=bool(run.calibration),
            due=run.due(run.epochs),
            average=averaged(network, optimizer, config.EMA_DECAY),
            measured_as="ema",
        )
        schedule = RetrainSchedule(
            **run.scheduled,
            epochs=run.epochs,
            warmup_epochs=config.WARMUP_EPOCHS,
            lr=config.LR * config.BATCH_SIZE / 1024,
            warmup_lr=config.WARMUP_LR,
            min_lr=config.MIN_LR,
            cooldown_epochs=config.COOLDOWN_EPOCHS,
        )
        return Begun(task, run.source(config.AUTO_AUGMENT), schedule)

    def finish(self, task: NetworkTask, log: RunLog) -> None:
        """Write the average as other networks are written, then both as published; the last epoch has measured it."""
        assert task.average is not None
        facts, subnet = trained_on(self.run.data), self.directory.subnet
        task.average.trained_on = facts
        save_subnet(subnet, task.average, self.model.on(len(self.run.data.mean)), self.model.code)
        save_child(self.directory.chosen, self.model, task.network, task.average, facts)
        following = command_line("export", model=subnet)
        self.run.report(f"wrote {self.directory.chosen}; `{following}` writes the average for other programs")


def averaged(network: Subnet, optimizer: torch.optim.Optimizer, decay: float) -> Subnet:
    """A network whose weights are the moving average of another one's, updated after each step of its optimizer."""
    average = ModelEmaV3(network, decay=decay)
    optimizer.register_step_post_hook(lambda *_: average.update(network))
    result: Subnet = average.module
    return result
