"""Settings of a run: frozen dataclasses, filled from one YAML file and `key=value` overrides.

The defaults run on the embedded digits. Sections that a command does not use may be in the file
all the same, so that one file describes a whole study.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from fewshot_nas.errors import InputError
from fewshot_nas.settings import Count, Part, Share, load
from fewshot_nas.space.block import BlockKind
from fewshot_nas.space.search_space import SPACES, SearchSpace


@dataclass(frozen=True)
class SpaceConfig:
    """A preset (`px8`, `px28`, `track1`, `cifar`, `resnet50`), any of whose values may be replaced.

    `depths` are the least and most blocks of each stage; `block` is `basic` or `bottleneck`.
    """

    preset: str = "px8"
    base_widths: tuple[int, ...] | None = None
    ratios: tuple[float, ...] | None = None
    divisor: int | None = None
    strides: tuple[int, ...] | None = None
    stem_kernel: int | None = None
    stem_stride: int | None = None
    stem_pool: bool | None = None
    in_channels: int | None = None
    resolution: int | None = None
    pool_digits: tuple[int, ...] | None = None
    depths: tuple[tuple[int, int], ...] | None = None
    block: BlockKind | None = None

    def build(self) -> SearchSpace:
        """The preset with the values that were given; its name tells if that changed it."""
        if self.preset not in SPACES:
            raise InputError(f"space.preset is {self.preset!r}, expected one of {', '.join(sorted(SPACES))}")
        given = {key: value for key, value in vars(self).items() if key != "preset" and value is not None}
        return dataclasses.replace(SPACES[self.preset], **given).marked()


@dataclass(frozen=True)
class DataConfig:
    """Where images come from: `digits`, `fashion_mnist`, `fashion_pairs`, `lists` or `folders` under `root`.

    `train_images` and `valid_images` use a fixed random part only; `num_classes` is for a network
    with more classes than the labels show. `augmentation` replaces in training what is the data
    set's own (photographs have `photo`, digits `shift`, Fashion-MNIST `shift_flip`, pairs `none`). `workers`
    are processes that prepare images; `cache` holds decoded validation and calibration images, and with
    `stored_side` the training photographs too, decoded once, with a shorter side of so many pixels.
    """

    name: str = "digits"
    root: Path = Path("data")
    train_images: Count | None = None
    valid_images: Count | None = None
    num_classes: Count | None = None
    augmentation: Literal["photo", "shift", "shift_flip", "flip", "none"] | None = None
    workers: int = 0
    cache: Path = Path("data/cache")
    stored_side: Count | None = None


@dataclass(frozen=True)
class RecipeConfig:
    """What every kind of training has; `batch_size` is of all processes together, which share it equally.

    `clip_value` bounds each gradient value; 0 leaves it alone.
    """

    epochs: Count = 30
    warmup_epochs: int = 1
    batch_size: Count = 64
    lr: float = 0.1
    weight_decay: float = 1e-4
    momentum: Share = 0.9
    clip_value: float = 0.0
    label_smoothing: Share = 0.0


@dataclass(frozen=True)
class StandAloneConfig(RecipeConfig):
    """How one subnet is trained from scratch for the ground truth."""


@dataclass(frozen=True)
class TrainingConfig(RecipeConfig):
    """How the one-shot supernet is trained.

    `sampling` is `random` or `fair` (FairNAS, arXiv:1907.01845) over the `digits` of the whole
    space or the pool's; each step trains the largest, `random_subnets` sampled ones and the
    smallest. With `extremes` = `outs` these two have out digits drawn uniformly for each step, so
    that no output width is trained more than another, with `space` those of the space's ends, as in
    BigNAS (arXiv:2003.11142). With `distill` = `none` all learn from the labels, with `sandwich`
    all but the largest from that, as there, with `prioritized`, which wants `extremes` = `space`,
    each from the best larger net met so far (after arXiv:2010.15821), for which up to 256 training
    images are held out. `gradient_scale` multiplies gradients, after they were clipped, by the inverse
    of how often the sampler trains a weight: with `channel` between the channels of a tensor, with
    `channel_depth` between the blocks of a stage too. Only the largest has dropout and drop-connect,
    and labels are smoothed wherever they are learned from.
    """

    epochs: Count = 14
    weight_decay: float = 1e-5
    clip_value: float = 1.0
    dropout: Share = 0.0
    drop_connect: Share = 0.0
    sampling: Annotated[str, Part(("random", "fair"))] = "random"
    digits: Literal["all", "pool"] = "pool"
    random_subnets: int = 2
    extremes: Literal["space", "outs"] = "outs"
    distill: Literal["sandwich", "prioritized", "none"] = "none"
    loss: Annotated[str, Part(("per_arch",))] = "per_arch"
    resolutions: tuple[Count, ...] = ()
    gradient_scale: Literal["none", "channel", "channel_depth"] = "none"


@dataclass(frozen=True)
class FewShotConfig(TrainingConfig):
    """A few-shot phase; `lr_multipliers` make rarely sampled groups move as far as others.

    `rule` computes them from the sampling probabilities, `table` has the published values.
    """

    epochs: Count = 2
    warmup_epochs: int = 0
    lr: float = 0.02
    lr_multipliers: Literal["rule", "table", "none"] = "rule"


@dataclass(frozen=True)
class EvaluationConfig:
    """How subnets are scored.

    `calibration_images` re-estimate the batch norms of each subnet, `calibration_batch` at a
    time (a batch is the unit of batch statistics, so it is part of the result); `batch_size` and
    `memory_mb` set the cost only. Training scores after every `every_epochs` epochs and the last.
    """

    calibration_images: Count = 256
    calibration_batch: Count = 128
    batch_size: Count = 128
    memory_mb: Count = 2048
    every_epochs: Count = 1


@dataclass(frozen=True)
class ProcessConfig:
    """What concerns any run, whatever it computes.

    `checkpoint_steps` is how often the state for resuming is written, beside each epoch's end.
    `precision` is `fp32` or `bf16` (autocast). `threads` is how many each process uses on the CPU:
    small networks run fastest with one, and 0 leaves it to torch.
    """

    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = 1
    checkpoint_steps: Count = 500


@dataclass(frozen=True)
class RunConfig(ProcessConfig):
    """A run that ranks archs; `keep` candidates stay on disk."""

    keep: Count = 3
    ground_truth: Path = Path("json_file/digits/gt_arch30.json")
    pool: Path = Path("json_file/json8")


@dataclass(frozen=True)
class Config:
    """All sections."""

    space: SpaceConfig = field(default_factory=SpaceConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    few_shot: FewShotConfig = field(default_factory=FewShotConfig)
    stand_alone: StandAloneConfig = field(default_factory=StandAloneConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    run: RunConfig = field(default_factory=RunConfig)


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Defaults, then the file, then overrides such as `training.lr=0.05`.

    Raises:
        InputError: names the unknown key, or the value of a wrong type or out of range.
    """
    config = load(Config, path, overrides)
    config.space.build()
    for section, settings in {"training": config.training, "few_shot": config.few_shot}.items():
        # The board of teachers relies on the space's largest being trained at every step.
        if (settings.distill, settings.extremes) == ("prioritized", "outs"):
            raise InputError(f"{section}.distill is prioritized, which needs {section}.extremes=space")
    return config


def dump_config(config: Any) -> str:
    """YAML that `load_config` reads back to an equal config."""
    return str(yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
