"""Settings of the Cream commands, under the keys that its users know.

The defaults run on the embedded digits in minutes; `configs/cream_*.yml` have the published recipes.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from fewshot_nas.config import DataConfig, ProcessConfig
from fewshot_nas.cream.flops import FULL_PX
from fewshot_nas.cream.paths import MODELS, Model, parse_path
from fewshot_nas.errors import InputError
from fewshot_nas.settings import Count, Share, Within

OWN = -1  # MODEL_SELECTION for a path of one's own

Several = Annotated[int, Within(low=2)]  # images that a batch norm takes statistics of: one may be a single pixel there


@dataclass(frozen=True)
class CreamConfig:
    """What search, retrain and test have in common.

    `IMAGE_SIZE` is the side in pixels to which images are brought; 0 takes the one that belongs to
    the model, or to the FLOPs bounds. `BATCH_SIZE` is of all processes
    together, which share it equally.
    """

    IMAGE_SIZE: int = 32
    BATCH_SIZE: Count = 64
    data: DataConfig = field(default_factory=DataConfig)
    run: ProcessConfig = field(default_factory=ProcessConfig)


@dataclass(frozen=True)
class TrainConfig(CreamConfig):
    """What search and retrain have in common; `VALIDATE_EVERY` counts epochs, and the last is always validated."""

    EPOCHS: Count = 12
    BATCH_SIZE: Several = 64
    LR: float = 0.05
    WEIGHT_DECAY: float = 4e-5
    SMOOTHING: Share = 0.1
    ERASING: Share = 0.0
    VALIDATE_EVERY: Count = 1


@dataclass(frozen=True)
class SearchConfig(TrainConfig):
    """The search.

    `FLOPS_MINIMUM` and `FLOPS_MAXIMUM` are in millions, counted at 224 pixels or what smaller images
    they demand, whatever `IMAGE_SIZE` is; `LEGACY` counts as the public code does. `SAMPLING` draws
    paths by the prior of the choices or uniformly. After epoch `META_STA_EPOCH`, one of the
    `POOL_SIZE` best paths teaches, which `PICK_METHOD` picks; it knows each by its answers to
    `SLICE` images. Every `UPDATE_ITER` steps the matching network learns, at the rate `META_LR`.
    A path whose accuracy is `ACC_GAP` points above the worst one's enters even if it costs more.
    `CALIBRATION_IMAGES` re-estimate the batch norms of a path that is validated.
    """

    FLOPS_MINIMUM: float = 0.0
    FLOPS_MAXIMUM: float = 114.0
    LEGACY: bool = False
    EPOCHS: Count = 40  # a step trains one path of thousands, so many steps are needed
    BATCH_SIZE: Several = 32
    MOMENTUM: Share = 0.9
    COLOR_JITTER: float = 0.0
    SAMPLING: Literal["prior", "uniform"] = "prior"
    PICK_METHOD: Literal["meta", "top1"] = "meta"
    META_STA_EPOCH: int = 20
    META_LR: float = 1e-4
    UPDATE_ITER: Count = 10
    POOL_SIZE: Count = 10
    SLICE: Several = 4
    ACC_GAP: float = 5.0
    CALIBRATION_IMAGES: Several = 256


@dataclass(frozen=True)
class ModelConfig(CreamConfig):
    """Which network: a published one by its million multiply-adds, or -1 and the path `INPUT_ARCH`.

    `INPUT_ARCH` has the index of every block's choice, stage by stage, between `[0]` and `[0]`.
    """

    MODEL_SELECTION: Literal[-1, 14, 43, 114, 287, 481, 604] = 43
    INPUT_ARCH: tuple[tuple[int, ...], ...] = ()

    @property
    def name(self) -> str:
        """The model's, for files."""
        return "arch" if self.MODEL_SELECTION == OWN else str(self.MODEL_SELECTION)

    def model(self) -> Model:
        """The path, and the side of the images that it is to see.

        Raises:
            InputError: `INPUT_ARCH` is missing, not asked for, or no path.
        """
        if (self.MODEL_SELECTION == OWN) != bool(self.INPUT_ARCH):
            raise InputError(
                f"MODEL_SELECTION is {self.MODEL_SELECTION} and INPUT_ARCH is {json.dumps(self.INPUT_ARCH)},"
                f" expected either a published model or MODEL_SELECTION={OWN} with INPUT_ARCH=[[0],...,[0]]"
            )
        if self.MODEL_SELECTION == OWN:
            model = Model(parse_path(json.dumps(self.INPUT_ARCH)), FULL_PX)
        else:
            model = MODELS[self.MODEL_SELECTION]
        return model._replace(resolution=self.IMAGE_SIZE or model.resolution)


@dataclass(frozen=True)
class RetrainConfig(ModelConfig, TrainConfig):
    """Training from scratch.

    `LR` is for 1,024 images a step, and proportional to their number. `EPOCHS` of a cosine with
    `WARMUP_EPOCHS` among them, from `WARMUP_LR` and to `MIN_LR`, are followed by `COOLDOWN_EPOCHS`.
    `AUTO_AUGMENT` is a policy of timm's such as rand-m9-mstd0.5. The moving average of the weights,
    which is what counts, forgets `1 - EMA_DECAY` at each step.
    """

    EPOCHS: Count = 12
    WARMUP_EPOCHS: int = 1
    COOLDOWN_EPOCHS: int = 1
    LR: float = 0.064
    WARMUP_LR: float = 1e-6
    MIN_LR: float = 1e-5
    WEIGHT_DECAY: float = 1e-5
    DROPOUT: Share = 0.2
    AUTO_AUGMENT: str = ""
    EMA_DECAY: Share = 0.95


@dataclass(frozen=True)
class CheckpointConfig(ModelConfig):
    """The test of a checkpoint: `RESUME_PATH`, of our retraining or of another that names tensors as timm does."""

    RESUME_PATH: Path | None = None
