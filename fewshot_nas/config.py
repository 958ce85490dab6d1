"""Settings of a run: frozen dataclasses, filled from one YAML file and `key=value` overrides.

The defaults run on the embedded digits. Sections that a command does not use may be in the file
all the same, so that one file describes a whole study.
"""

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from fewshot_nas.errors import InputError
from fewshot_nas.space.search_space import SPACES, SearchSpace

T = TypeVar("T")


@dataclass(frozen=True)
class Within:
    """Bounds of a number: at least `low`, less than `below`. Without them a number is at least 0."""

    low: int = 0
    below: float = math.inf


Count = Annotated[int, Within(low=1)]
Share = Annotated[float, Within(below=1)]


@dataclass(frozen=True)
class SpaceConfig:
    """A preset (`px8`, `px28`, `track1`), any of whose values may be replaced."""

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

    def build(self) -> SearchSpace:
        """The preset with the values that were given."""
        if self.preset not in SPACES:
            raise InputError(f"space.preset is {self.preset!r}, expected one of {', '.join(sorted(SPACES))}")
        given = {key: value for key, value in vars(self).items() if key != "preset" and value is not None}
        return dataclasses.replace(SPACES[self.preset], **given)


@dataclass(frozen=True)
class DataConfig:
    """Where images come from: `digits`, `fashion_mnist`, `lists` or `folders` under `root`.

    `train_images` and `valid_images` use a fixed random part only; `num_classes` is for a network
    with more classes than the labels show. `workers` are processes that prepare images; `cache`
    holds decoded validation and calibration images.
    """

    name: str = "digits"
    root: Path = Path("data")
    train_images: Count | None = None
    valid_images: Count | None = None
    num_classes: Count | None = None
    workers: int = 0
    cache: Path = Path("data/cache")


@dataclass(frozen=True)
class TrainingConfig:
    """How the one-shot supernet is trained; `batch_size` is per process.

    `sampling` is `random` or `fair` (FairNAS, arXiv:1907.01845) over the `digits` of the whole
    space or the pool's; each step trains the largest, `random_subnets` sampled ones and the
    smallest. `clip_value` bounds each gradient value; 0 leaves it alone.
    """

    epochs: Count = 14
    warmup_epochs: int = 1
    batch_size: Count = 64
    lr: float = 0.1
    weight_decay: float = 1e-5
    momentum: Share = 0.9
    clip_value: float = 1.0
    label_smoothing: Share = 0.0
    dropout: Share = 0.0
    drop_connect: Share = 0.0
    sampling: Literal["random", "fair"] = "random"
    digits: Literal["all", "pool"] = "pool"
    random_subnets: int = 2
    resolutions: tuple[Count, ...] = ()


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
class StandAloneConfig:
    """How one subnet is trained from scratch for the ground truth."""

    epochs: Count = 30
    warmup_epochs: int = 1
    batch_size: Count = 64
    lr: float = 0.1
    weight_decay: float = 1e-4
    momentum: Share = 0.9
    clip_value: float = 0.0
    label_smoothing: Share = 0.0


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
class RunConfig:
    """What concerns the run itself.

    `checkpoint_steps` is how often the state for resuming is written, beside each epoch's end;
    `keep` candidates stay on disk. `precision` is `fp32` or `bf16` (autocast). `threads` is how
    many each process uses on the CPU: small networks run fastest with one, and 0 leaves it to torch.
    """

    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = 1
    checkpoint_steps: Count = 500
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
    config = build(Config, _merged(path, overrides), "")
    config.space.build()
    return config


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """An instance of a dataclass from nested mappings, each value checked against its type.

    Args:
        where: what a key's name is prefixed with in messages, such as `configs/digits.yml: `.
    """
    hints = get_type_hints(kind, include_extras=True)
    for key in values:
        if key not in hints:
            raise InputError(f"{where}{key} is not a setting, expected one of {', '.join(hints)}")
    return kind(**{key: _convert(hints[key], value, f"{where}{key}") for key, value in values.items()})


def dump_config(config: Any) -> str:
    """YAML that `load_config` reads back to an equal config."""
    return str(yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False))


def _merged(path: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    values = _read_yaml(path) if path else {}
    build(Config, values, f"{path}: ")  # so that a mistake in the file is reported as the file's
    for override in overrides:
        name, equals, text = override.partition("=")
        section, dot, key = name.partition(".")
        if not (equals and dot and key):
            raise InputError(f"{override!r} is not an override, expected section.key=value")
        values[section] = {**(values.get(section) or {}), key: _parse(text, override)}
    return values


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = _parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected sections such as `data:`, got {type(values).__name__}")
    return values


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is {value!r}, expected a section with keys")
        return build(hint, value, f"{where}.")  # type: ignore[arg-type]
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        inner, nothing = get_args(hint)
        assert nothing is type(None)
        return None if value is None else _convert(inner, value, where)
    if origin is Literal:
        if value not in get_args(hint):
            raise InputError(f"{where} is {value!r}, expected one of {', '.join(map(str, get_args(hint)))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} is {value!r}, expected a list such as [1, 2]")
        return tuple(_convert(get_args(hint)[0], item, where) for item in value)
    if origin is Annotated:
        kind, bounds = get_args(hint)
        return _scalar(kind, value, where, bounds)
    return _scalar(hint, value, where, Within())


def _scalar(kind: type, value: Any, where: str, bounds: Within) -> Any:
    converted = _as(kind, value)
    in_range = not isinstance(converted, int | float) or bounds.low <= converted < bounds.below
    if converted is None or not in_range:
        raise InputError(f"{where} is {value!r}, expected {_wording(kind, bounds)}")
    return converted


def _as(kind: type, value: Any) -> Any:
    """The value as one of the type, None if it is none."""
    if kind is float and isinstance(value, str):
        # YAML 1.1 takes 1e-4 for a string, for want of a point.
        try:
            return float(value)
        except ValueError:
            return None
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and type(value) is int:
        return float(value)
    return value if type(value) is kind else None


def _wording(kind: type, bounds: Within) -> str:
    if kind not in (int, float):
        return {bool: "true or false", str: "a word", Path: "a path"}[kind]
    name = "a whole number" if kind is int else "a number"
    return f"{name} >= {bounds.low}" + (f" and < {bounds.below}" if bounds.below < math.inf else "")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
