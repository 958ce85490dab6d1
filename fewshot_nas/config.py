"""Settings of a run: frozen dataclasses, filled from one YAML file and `key=value` overrides.

The defaults run on the embedded digits. A file may contain sections that a command does not use, so
that one file can describe a whole study.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import yaml

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.settings import FREE, Count, Part, Share, Within, load
from fewshot_nas.data import Recipe
from fewshot_nas.records.files import here_or_shipped
from fewshot_nas.results.run import run_files
from fewshot_nas.space.presets import preset, with_values
from fewshot_nas.space.resnet import BlockKind
from fewshot_nas.space.space import Space

DEFAULT_SPACE = "px8"
_POOL = Path("json_file/json8")
_DIGITS_TRUTH = Path("json_file/digits/gt_arch30.json")


@dataclass(frozen=True)
class SpaceConfig:
    """A preset space. Each of its values can be replaced; null keeps the preset's value."""

    # `px8`, `px28`, `track1`, `cifar`, `resnet50`, `cream`; `channel_resnet`, `channel_mobilenet` or `macro`, also with
    # `_quarter`; `module:name` for your own. null: the space of the network that is there already, else `px8`.
    preset: str | None = None
    # Channels of the images: 1 for grey, 3 for colour.
    in_channels: int | None = None
    # Side of the images after resizing or cropping, in pixels.
    resolution: int | None = None
    # ResNets: output channels of each stage at ratio 1.0.
    base_widths: tuple[int, ...] | None = None
    # ResNets: share of the base width for the digits 1, 2, ..., falling.
    ratios: tuple[float, ...] | None = None
    # ResNets and MobileNets: widths are multiples of this.
    divisor: int | None = None
    # ResNets, MobileNets and cream: stride of each stage's first block.
    strides: tuple[int, ...] | None = None
    # ResNets: side of the first kernel, odd.
    stem_kernel: int | None = None
    # ResNets, MobileNets and cream: stride of the first convolution.
    stem_stride: int | None = None
    # ResNets: max pooling after the first convolution.
    stem_pool: bool | None = None
    # ResNets: the largest digit that the pool uses, for each stage.
    pool_digits: tuple[int, ...] | None = None
    # ResNets: the least and the most blocks of each stage, such as [[2, 5], [2, 8]].
    depths: tuple[tuple[int, int], ...] | None = None
    # ResNets: `basic` (two 3x3 convolutions) or `bottleneck` (1x1, 3x3, 1x1).
    block: BlockKind | None = None
    # ResNets: a shortcut of 1x1 where the shape changes, or none.
    projects: bool | None = None
    # MobileNets: full output channels of each stage.
    out_widths: tuple[int, ...] | None = None
    # MobileNets: full middle channels of each block, stage by stage.
    mid_widths: tuple[tuple[int, ...], ...] | None = None
    # MobileNets: a digit d stands for d / `digits` of a full width.
    digits: int | None = None
    # MobileNets, macro and cream: output channels of the last convolution, in full.
    last_width: int | None = None
    # Macro and cream: output channels of the first convolution.
    stem_width: int | None = None
    # Macro and cream: output channels of each stage.
    widths: tuple[int, ...] | None = None
    # Macro and cream: number of blocks of each stage.
    lengths: tuple[int, ...] | None = None
    # Macro: kernel side and expansion of each choice; [0, 0]: identity.
    choices: tuple[tuple[int, int], ...] | None = None
    # Cream: features before the classifier.
    head_width: int | None = None
    # Cream: sides of the depthwise kernels to choose from, rising.
    kernels: tuple[int, ...] | None = None
    # Cream: factors of a block's middle width to choose from, rising.
    expansions: tuple[int, ...] | None = None

    def build(self) -> Space:
        """The preset with its replaced values; its name says if it was changed."""
        return with_values(preset(self.preset or DEFAULT_SPACE), self._replaced())

    def given(self) -> dict[str, Any]:
        """The space's values that are set, by a preset or one by one."""
        values = dataclasses.asdict(self.build()) if self.preset else self._replaced()
        values.pop("name", None)
        return values | ({"preset": self.preset} if self.preset else {})

    def _replaced(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "preset" and value is not None}


@dataclass(frozen=True)
class DataConfig:
    """Where images come from, and how they are prepared."""

    # `digits`, `fashion_mnist`, `fashion_pairs`, `cifar10`, `cifar100`, `lists`, `parts`, `folders`, or `module:name`
    # for your own.
    name: str = "digits"
    # Directory of the images; `digits` needs none.
    root: Annotated[Path, FREE] = Path("data")
    # Train on so many images, a fixed choice with balanced classes; null: on all.
    train_images: Count | None = None
    # Rank on so many images, a fixed choice; null: on all, but on 2,500 for `folders`.
    valid_images: Count | None = None
    # Classes of the network; null: as many as the labels show.
    num_classes: Count | None = None
    # Repeats training images of rare classes: 0 not at all, 1 until all are equally frequent.
    evened: Annotated[float, Within(below=2)] = 0.0
    # Augmentation in training; null: the data set's own (photographs `photo`, small images `shift`, CIFAR and
    # Fashion-MNIST `shift_flip`, pairs `none`).
    augmentation: Recipe | None = None
    # Processes that prepare images, for each training process; 0: none but itself.
    workers: Annotated[int, Within(below=1025), FREE] = 0
    # Directory where decoded images are stored.
    cache: Annotated[Path, FREE] = Path("data/cache")
    # Shorter side of training images that are stored decoded in the cache; null: decode them in every epoch.
    stored_side: Count | None = None
    # Red, green and blue behind transparent pixels.
    background: tuple[Annotated[int, Within(below=256)], ...] = (255, 255, 255)

    def __post_init__(self) -> None:
        if self.evened > 1:
            raise InputError(f"data.evened is {self.evened}, expected a number >= 0 and <= 1")
        if len(self.background) != 3:
            raise InputError(f"data.background is {list(self.background)}, expected red, green and blue, each 0..255")


@dataclass(frozen=True)
class RecipeConfig:
    """The settings that all kinds of training have."""

    # Passes over the training images.
    epochs: Count = 30
    # Epochs of `epochs` in which the learning rate rises linearly.
    warmup_epochs: int = 1
    # Images of a step, of all processes together.
    batch_size: Count = 64
    # Learning rate after the warm-up; it falls along a cosine.
    lr: float = 0.1
    # Weight decay (L2).
    weight_decay: float = 1e-4
    # Momentum of the gradient descent.
    momentum: Share = 0.9
    # Bound to which a gradient's elements are clipped; 0: none.
    clip_value: float = 0.0
    # Share of a label's probability that goes to all classes.
    label_smoothing: Share = 0.0

    @property
    def section(self) -> str:
        return next(name for name, kind in get_type_hints(Config).items() if kind is type(self))


@dataclass(frozen=True)
class StartConfig(RecipeConfig):
    """A training that may begin with the weights of a file."""

    # Weights to begin with: a state dict of torchvision's or timm's ResNets, a `supernet.pth` or a `subnet.pth`; its
    # digest is compared. null: all are new.
    start: Annotated[Path | None, FREE] = None


@dataclass(frozen=True)
class StandAloneConfig(StartConfig):
    """How one network is trained alone."""


@dataclass(frozen=True)
class FineTuneConfig(RecipeConfig):
    """How one subnet is trained on from the weights of a supernet or a file."""

    # Passes over the training images.
    epochs: Count = 10
    # Epochs of `epochs` in which the learning rate rises linearly.
    warmup_epochs: int = 0
    # Learning rate after the warm-up; it falls along a cosine.
    lr: float = 0.02


@dataclass(frozen=True)
class SupernetConfig(RecipeConfig):
    """How a supernet is trained. Each step trains a largest arch, some drawn ones and a smallest arch."""

    # Weight decay (L2).
    weight_decay: float = 1e-5
    # Bound to which a gradient's elements are clipped; 0: none.
    clip_value: float = 1.0
    # Dropout before the classifier, for the largest arch.
    dropout: Share = 0.0
    # Probability that the largest arch skips a block's residual branch.
    drop_connect: Share = 0.0
    # How archs are drawn: `random`; `fair` (FairNAS, arXiv:1907.01845: of as many draws as a slot has options, each has
    # another option; with extremes none and as many archs a step); `shrinking` (arXiv:1908.09791: the largest only for
    # a tenth of the training, all depths up to four tenths, then all widths, the ends too); or `module:name` for your
    # own.
    sampling: Annotated[str, Part(("random", "fair", "shrinking"))] = "random"
    # Digits that are drawn: `all` of the space, or those of the `pool`.
    digits: Literal["all", "pool"] = "pool"
    # Archs drawn for each step, beside the largest and the smallest.
    random_subnets: Annotated[int, Within(below=1001)] = 2
    # The largest and smallest arch: `space` has the ends of the space (BigNAS, arXiv:2003.11142), `outs` draws their
    # output widths, `none` leaves them out (with one drawn arch a single path, arXiv:1904.00420).
    extremes: Literal["space", "outs", "none"] = "outs"
    # Teacher: `none` (all learn from the labels) or `sandwich` (the largest teaches the others, BigNAS).
    distill: Literal["sandwich", "none"] = "none"
    # Loss of a step: `per_arch` (each arch by itself), or `module:name` for your own.
    loss: Annotated[str, Part(("per_arch",))] = "per_arch"
    # Image sides: the largest arch gets the largest, the smallest the smallest, others draw; empty: the space's.
    resolutions: tuple[Count, ...] = ()

    def __post_init__(self) -> None:
        if self.extremes == "none" and (self.distill == "sandwich" or not self.random_subnets):
            raise InputError(
                "extremes is none, so a step has no largest arch; expected distill=none and some random_subnets"
            )


@dataclass(frozen=True)
class TrainingConfig(SupernetConfig, StartConfig):
    """How the one-shot supernet is trained. Each step trains a largest arch, some drawn ones and a smallest arch."""

    # Passes over the training images.
    epochs: Count = 14
    # Every other arch of a step has the last channels of the supernet instead of the first, and archs are scored by
    # both (arXiv:2105.10533). Such a supernet cannot be split.
    two_sided: bool = False


@dataclass(frozen=True)
class FewShotConfig(SupernetConfig):
    """How a few-shot phase is trained."""

    # Passes over the training images.
    epochs: Count = 2
    # Epochs of `epochs` in which the learning rate rises linearly.
    warmup_epochs: int = 0
    # Learning rate. Larger ones make groups noisy, and the ranking worse.
    lr: float = 0.002
    # Larger rates for groups that are rarely drawn: by their probability (`rule`), as published (`table`), or `none`.
    lr_multipliers: Literal["rule", "table", "none"] = "rule"


@dataclass(frozen=True)
class EvaluationConfig:
    """How subnets are scored."""

    # Training images from which each subnet's batch-norm statistics are estimated.
    calibration_images: Count = 256
    # Calibration images in a batch. It is the unit of the statistics, so this changes scores.
    calibration_batch: Count = 128
    # Most images at a time when scoring; null: 128, on a GPU up to 1024.
    batch_size: Annotated[Count | None, FREE] = None
    # Memory of a process in MB, which may lower `batch_size`; null: what can be spared.
    memory_mb: Annotated[Count | None, FREE] = None
    # Epochs between two scorings of the ground truth's archs in training.
    every_epochs: Count = 1


@dataclass(frozen=True)
class RunConfig:
    """The settings of all runs, whatever they compute."""

    # Seed of everything random: initial weights, archs, batches, augmentation.
    seed: int = 0
    # `fp32`, or `bf16` (torch's autocast).
    precision: Literal["fp32", "bf16"] = "fp32"
    # TF32 on GPUs: several times faster, factors of 10 bits.
    tf32: bool = True
    # The same bits every time on GPUs, too, which costs time.
    deterministic: bool = False
    # Batch norms take the statistics of all processes; if not, their number is part of the recipe.
    sync_norms: bool = True
    # Seconds without a sign of life after which all processes end.
    silence_s: Annotated[float, Within(low=1), FREE] = 25.0
    # Threads of each process on the CPU; small networks are fastest with 1. 0: torch decides.
    threads: int = 1
    # Steps between two writes of the state for resuming.
    checkpoint_steps: Annotated[Count, FREE] = 500
    # Checkpoints to keep, of epochs that may still be chosen.
    keep: Annotated[Count, FREE] = 3
    # Arch file of networks trained alone; without it there is no tau. null: the run's own, which `train_stand_alone`
    # makes; until then, for the digits and the usual pool, the package's.
    ground_truth: Annotated[Path | None, FREE] = None
    # The pool: a directory with part1.json, part2.json, ..., or a single file.
    pool: Annotated[Path, FREE] = _POOL

    @property
    def pool_path(self) -> Path:
        """Where the pool is: here, or the package's own."""
        return here_or_shipped(self.pool)


@dataclass(frozen=True)
class Config:
    """All sections."""

    space: SpaceConfig = field(default_factory=SpaceConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    few_shot: FewShotConfig = field(default_factory=FewShotConfig)
    stand_alone: StandAloneConfig = field(default_factory=StandAloneConfig)
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def truth_path(self, save: str) -> Path:
        """Where the ground truth of a run is, or would be."""
        if self.run.ground_truth:
            return here_or_shipped(self.run.ground_truth)
        own, shipped = run_files(save).ground_truth, here_or_shipped(_DIGITS_TRUTH)
        alike = self.space.build().slots == preset(DEFAULT_SPACE).slots  # else codes mean other archs
        packaged = alike and self.data.name == "digits" and self.run.pool == _POOL and shipped.exists()
        return shipped if packaged and not own.exists() else own


SECTIONS = frozenset(get_type_hints(Config))


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """The settings: defaults, replaced by the file's, replaced by overrides such as `training.lr=0.05`.

    Raises:
        InputError: names the unknown key, or the value of a wrong type or out of range.
    """
    config = load(Config, path, overrides, foreign=_of_cream)
    config.space.build()
    return config


def _of_cream(key: str) -> bool:
    """Whether a key of a file is one of Cream's commands, which check it; a section in capitals is a mistake."""
    return key.isupper() and (key == "SPACE" or key.lower() not in SECTIONS)


def dump_config(config: Any) -> str:
    """YAML that `load_config` reads back to equal settings; it names the preset of a run's space."""
    if isinstance(config, Config):
        space = dataclasses.replace(config.space, preset=config.space.preset or DEFAULT_SPACE)
        config = dataclasses.replace(config, space=space)
    return str(yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return f"./{value}" if str(value).startswith("~") else str(value)
    return value
