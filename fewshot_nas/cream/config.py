"""Settings of the Cream commands, with the keys of the public code.

The defaults run on the embedded digits in minutes; `configs/cream_*.yml` contain the published recipes.
"""

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.settings import Count, Share, Within
from fewshot_nas.config import DataConfig, EvaluationConfig, RunConfig, SpaceConfig
from fewshot_nas.cream.flops import Budget, budget_for
from fewshot_nas.cream.model import FULL_PX, MODELS, OWN, PUBLISHED, CreamSpace, Model, as_published, model_of
from fewshot_nas.space.mbconv import MBConvSpace

# Images for batch norm statistics: a single image may be a single pixel in a late stage.
AtLeastTwo = Annotated[int, Within(low=2)]


@dataclass(frozen=True)
class CreamConfig(ABC):
    """The settings that search, retrain and test have in common."""

    # Side of the images, in pixels; 0: the model's, or that of the FLOPs bounds.
    IMAGE_SIZE: int = 16
    # Images of a batch.
    BATCH_SIZE: Count = 64
    # Widths, strides and choices of the networks; the defaults are published.
    SPACE: CreamSpace = field(default_factory=CreamSpace)
    # Where images come from, as for the other commands.
    data: DataConfig = field(default_factory=DataConfig)
    # Seed, precision, threads, checkpoints, pool and ground truth, as for the other commands.
    run: RunConfig = field(default_factory=RunConfig)

    @property
    @abstractmethod
    def resolution(self) -> int:
        """Side of the images, in pixels."""


@dataclass(frozen=True)
class TrainConfig(CreamConfig):
    """The settings that search and retrain have in common."""

    # Passes over the training images.
    EPOCHS: Count = 12
    # Images of a step, of all processes together.
    BATCH_SIZE: AtLeastTwo = 64
    # Learning rate.
    LR: float = 0.05
    # Weight decay (L2).
    WEIGHT_DECAY: float = 4e-5
    # Share of a label's probability that goes to all classes.
    SMOOTHING: Share = 0.1
    # Probability that a rectangle of a training image is erased.
    ERASING: Share = 0.0
    # Epochs between two validations; the last epoch is always validated.
    VALIDATE_EVERY: Count = 1


@dataclass(frozen=True)
class SearchConfig(TrainConfig):
    """The settings of the search."""

    # Side of the images for which costs are counted, in pixels; smaller if the bounds require it.
    FLOPS_SIZE: Count = FULL_PX
    # Least multiply-adds of a path, in millions.
    FLOPS_MINIMUM: float = 0.0
    # Most multiply-adds of a path, counted the same way.
    FLOPS_MAXIMUM: float = 114.0
    # Blocks of stages 1..5; empty: as many as the bounds suggest.
    DEPTHS: tuple[Count, ...] = ()
    # Bounds as in the public code.
    LEGACY: bool = False
    # Passes over the training images.
    EPOCHS: Count = 24
    # Images of a step, of all processes together.
    BATCH_SIZE: AtLeastTwo = 32
    # Momentum of the gradient descent.
    MOMENTUM: Share = 0.9
    # Strength of the colour jitter; 0: none.
    COLOR_JITTER: float = 0.0
    # How the paths of steps are drawn: by the `prior` of the choices, or `uniform`.
    SAMPLING: Literal["prior", "uniform"] = "prior"
    # Who teaches: the matching network's pick from the board (`meta`), or the most accurate path (`top1`).
    PICK_METHOD: Literal["meta", "top1"] = "meta"
    # Epochs without a teacher, at the beginning.
    META_STA_EPOCH: int = 10
    # From then on, every so many steps have a teacher; 1: as published.
    TEACH_EVERY: Count = 2
    # Epochs in which choices of a block are parts of the dearest one; 0: none, as published.
    SHARED_EPOCHS: int = 4
    # The board's scores are of each step's batch (`batch`, as published), or of reviews on held images.
    BOARD: Literal["batch", "review"] = "review"
    # Reviews of the board, evenly spread over the steps after SHARED_EPOCHS.
    REVIEWS: Count = 10
    # New paths that a review scores beside those on the board.
    REVIEW_PATHS: Count = 30
    # Training images held out for reviews and FINAL_STEPS, at most an eighth of all.
    HELD_IMAGES: AtLeastTwo = 1024
    # Steps that the last board's paths train alone before one is chosen; 0: the board's first, as published.
    FINAL_STEPS: int = 0
    # Learning rate of the first of them.
    FINAL_LR: float = 0.05
    # Learning rate of the matching network.
    META_LR: float = 1e-4
    # Steps between two updates of the matching network.
    UPDATE_ITER: Count = 20
    # Paths on the board.
    POOL_SIZE: Count = 10
    # Images on which the matching network compares two paths.
    SLICE: AtLeastTwo = 4
    # With BOARD=batch: points by which a dearer path must beat the board's worst.
    ACC_GAP: float = 5.0
    # Training images from which the batch norms of a scored path are estimated.
    CALIBRATION_IMAGES: AtLeastTwo = 256

    def budget(self) -> Budget:
        """The bounds, and the depths that suit them.

        Raises:
            InputError: no depths do, or those asked for have no path within the bounds.
        """
        bounds = self.FLOPS_MINIMUM, self.FLOPS_MAXIMUM
        return budget_for(*bounds, self.DEPTHS, resolution=self.FLOPS_SIZE, legacy=self.LEGACY, shape=self.SPACE)

    @property
    def resolution(self) -> int:
        return self.IMAGE_SIZE or self.budget().space.resolution

    def network(self, in_channels: int) -> MBConvSpace:
        """The space of the search's paths, at the side of its images."""
        return replace(self.budget().space, in_channels=in_channels, resolution=self.resolution)

    def stored(self, in_channels: int) -> "StoredSearch":
        """With the sections that the commands of all spaces read."""
        space = {key: value for key, value in asdict(self.network(in_channels)).items() if key != "name"}
        scored = EvaluationConfig(calibration_images=self.CALIBRATION_IMAGES, calibration_batch=self.BATCH_SIZE)
        return StoredSearch(**vars(self), space=SpaceConfig(preset="cream", **space), evaluation=scored)


@dataclass(frozen=True)
class StoredSearch(SearchConfig):
    """A search's settings, and what they are for the commands of all spaces, which leave out keys in capitals."""

    space: SpaceConfig = field(default_factory=SpaceConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


@dataclass(frozen=True)
class ModelConfig(CreamConfig):
    """The choice of a network: a published one, or your own path."""

    # Millions of multiply-adds of a published network (112 is 114); -1: the path INPUT_ARCH.
    MODEL_SELECTION: Literal[-1, 14, 43, 112, 114, 287, 481, 604] = 43
    # The choice of each block, stage by stage, between [0] and [0].
    INPUT_ARCH: tuple[tuple[int, ...], ...] = ()
    # A stage of one block: its choice in INPUT_ARCH (`written`), or the public code's, which ignores it (`template`).
    SINGLE_BLOCKS: Literal["written", "template"] = "written"

    @property
    def name(self) -> str:
        """The model's name in file names."""
        return "arch" if self.MODEL_SELECTION == OWN else str(self.MODEL_SELECTION)

    def model(self) -> Model:
        """The path, and the side of its images.

        Raises:
            InputError: `INPUT_ARCH` is missing, is given beside a published model, or is malformed.
        """
        if (self.MODEL_SELECTION == OWN) != bool(self.INPUT_ARCH):
            raise InputError(
                f"MODEL_SELECTION is {self.MODEL_SELECTION} and INPUT_ARCH is {json.dumps(self.INPUT_ARCH)},"
                f" expected either a published model or MODEL_SELECTION={OWN} with INPUT_ARCH=[[0],...,[0]]"
            )
        if self.MODEL_SELECTION == OWN:
            model = model_of(json.dumps(self.INPUT_ARCH), FULL_PX, self.SPACE)
            if self.SINGLE_BLOCKS == "template":
                if self.SPACE != PUBLISHED:
                    raise InputError("SINGLE_BLOCKS is template, but SPACE is changed; only the published one has them")
                model = as_published(model)
        elif self.SPACE == PUBLISHED:
            model = MODELS[114 if self.MODEL_SELECTION == 112 else self.MODEL_SELECTION]
        else:
            raise InputError(
                f"SPACE is changed, but MODEL_SELECTION={self.MODEL_SELECTION} is a network of the published one;"
                f" choose MODEL_SELECTION={OWN} with INPUT_ARCH"
            )
        return model._replace(space=replace(model.space, resolution=self.IMAGE_SIZE or model.resolution))

    @property
    def resolution(self) -> int:
        return self.IMAGE_SIZE or self.model().resolution

    def unlike_public(self) -> str:
        """A sentence about the stages of INPUT_ARCH that the public code would build otherwise; empty without any."""
        model = self.model()
        public = as_published(model)
        if self.MODEL_SELECTION != OWN or self.SPACE != PUBLISHED or model == public:
            return ""
        pairs = zip(*(model.space.by_stage(each.arch) for each in (model, public)), strict=True)
        stages = [str(stage) for stage, (mine, theirs) in enumerate(pairs, 1) if mine != theirs]
        here, there = (each.space.cost(each.arch).params for each in (model, public))
        return (
            f"stage{'s' * (len(stages) > 1)} {', '.join(stages)} of INPUT_ARCH, of one block, built as written:"
            f" {here:,} params with 1,000 classes; the public code ignores the choice there and builds"
            f" {public.code}, {there:,} params, as SINGLE_BLOCKS=template does"
        )


@dataclass(frozen=True)
class RetrainConfig(ModelConfig, TrainConfig):
    """The settings of the training from scratch."""

    # Epochs of the cosine, warm-up included.
    EPOCHS: Count = 12
    # Epochs in which the rate rises from WARMUP_LR to LR.
    WARMUP_EPOCHS: int = 1
    # Epochs at the rate MIN_LR, after EPOCHS.
    COOLDOWN_EPOCHS: int = 1
    # Largest learning rate for 1,024 images a step; it is scaled with the batch size.
    LR: float = 0.064
    # Learning rate at the first step.
    WARMUP_LR: float = 1e-6
    # Learning rate at the end of the cosine.
    MIN_LR: float = 1e-5
    # Weight decay (L2).
    WEIGHT_DECAY: float = 1e-5
    # Share of features that are dropped before the classifier.
    DROPOUT: Share = 0.2
    # Augmentation policy of timm, such as `rand-m9-mstd0.5`; empty: none.
    AUTO_AUGMENT: str = ""
    # Decay of the weights' moving average at each step; the average is the result.
    EMA_DECAY: Share = 0.95


@dataclass(frozen=True)
class CheckpointConfig(ModelConfig):
    """The settings of the test of a checkpoint."""

    # Checkpoint whose tensors have timm's names, such as a retraining's.
    RESUME_PATH: Path | None = None
