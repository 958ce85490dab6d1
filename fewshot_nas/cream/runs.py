"""What search, retrain and test have in common: images, inputs of evaluations, schedules, and files of networks.

These files are `.pth.tar` as in the public code: weights and their moving average. Tensors have the names of timm's
MobileNetV3 there, as in every published checkpoint.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.settings import compared
from fewshot_nas.config import Config, EvaluationConfig
from fewshot_nas.cream.config import CreamConfig, TrainConfig
from fewshot_nas.cream.model import PUBLISHED, STAGES, Model
from fewshot_nas.data.images import Images
from fewshot_nas.data.loader import batch_images, batches_per_epoch
from fewshot_nas.data.sources import ImageData
from fewshot_nas.data.transforms import Augmentation
from fewshot_nas.distributed import World, gathered
from fewshot_nas.evaluation.inputs import Accuracy, Inputs, Sums
from fewshot_nas.evaluation.naive import total
from fewshot_nas.models.checkpoint import NOTHING
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.records.files import replacing
from fewshot_nas.running.images import (
    data_facts,
    evaluation_inputs,
    images_of,
    refuse_single_values,
    training_images,
)
from fewshot_nas.running.life import AnyRun
from fewshot_nas.running.manifest import manifest_of
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.space import STEM
from fewshot_nas.training.task import Source

_AVERAGE, _WEIGHTS = "state_dict_ema", "state_dict"
_CHOSEN = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
_SEPARABLE = (("conv_dw", "bn1"), ("conv_pw", "bn2"))
_HIDDEN = "conv_head.weight"  # a 1x1 convolution there


def scoring_inputs(config: CreamConfig, data: ImageData, scored: Images, world: World, calibration: int = 0) -> Inputs:
    """Images to score on, where photographs are resized bicubically, and training images for calibration.

    As in training, a batch is the share of one process.
    """
    batch = max(1, config.BATCH_SIZE // world.size)
    space = config.SPACE.of((1,) * STAGES, config.resolution, len(data.mean))
    refuse_single_values(min(calibration, batch), space.sides()[-1], "BATCH_SIZE")
    evaluation = EvaluationConfig(calibration_images=calibration, calibration_batch=batch, batch_size=batch)
    generic = Config(data=config.data, evaluation=evaluation, run=config.run)
    return evaluation_inputs(generic, space, data, scored, world, bicubic=True)


def measured(network: nn.Module, inputs: Inputs, world: World) -> Accuracy:
    """Accuracy of a network in evaluation mode on all images; each process measures a share of them."""
    mine = slice(world.rank, None, world.size)
    part = replace(inputs, images=inputs.images[mine], labels=inputs.labels[mine])
    parts = gathered(total(network, part), world)
    return Sums(*map(sum, zip(*parts, strict=True))).accuracy(len(inputs.labels))


def space_words(config: CreamConfig) -> str:
    """The space in the first line of a command."""
    return "of Cream" if config.SPACE == PUBLISHED else "of Cream, changed"


@dataclass(frozen=True, kw_only=True)
class CreamRun(AnyRun):
    """A Cream run: its settings, and the parts that are built from them."""

    config: TrainConfig

    @cached_property
    def images(self) -> ImageData:
        return self.say_opened(images_of(self.config.data), space_words(self.config))

    @property
    def data(self) -> ImageData:
        return self.images

    @property
    def per_epoch(self) -> int:
        return batches_per_epoch(len(self.data.train), self.config.BATCH_SIZE, self.world.size)

    @property
    def batch(self) -> int:
        """The number of images of a step, of all processes."""
        return batch_images(len(self.data.train), self.config.BATCH_SIZE, self.world.size)

    @property
    @abstractmethod
    def calibration(self) -> int:
        """Training images from which batch norms are estimated before a network is measured; 0: they are not."""

    def inputs(self, scored: Images) -> Inputs:
        return scoring_inputs(self.config, self.data, scored, self.world, self.calibration)

    def due(self, epochs: int) -> frozenset[int]:
        """Epochs, counted from 0, after which to validate."""
        return frozenset({*range(self.config.VALIDATE_EVERY - 1, epochs, self.config.VALIDATE_EVERY), epochs - 1})

    @property
    def scheduled(self) -> dict[str, Any]:
        """What all schedules of a run have in common."""
        config = self.config
        given = {"batch_size": config.BATCH_SIZE, "seed": config.run.seed, "clip_value": 0.0}
        return {**given, "checkpoint_steps": config.run.checkpoint_steps}

    def source(self, policy: str = "", jitter: float = 0.0) -> Source:
        data, settings, erasing = self.data, self.config.data, self.config.ERASING
        recipe = settings.augmentation or data.recipe
        transform = Augmentation(recipe, self.config.resolution, policy, jitter, erasing, data.mean, data.std)
        return Source(training_images(data.train, settings), transform, data.mean, data.std, settings.workers)

    def manifest(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What a training depends on.

        Raises:
            InputError: there are more processes than images of a batch, or a batch norm would see a single value.
        """
        smallest = self.config.SPACE.of((1,) * STAGES, self.config.resolution).sides()[-1]
        refuse_single_values(self.world.of_norms(self.batch), smallest, "BATCH_SIZE")
        noted = {**self.world.facts, **facts, "data": data_facts(self.images)}
        return manifest_of(compared(self.config), noted)


def save_child(
    path: Path, model: Model, network: Subnet, average: Subnet, trained_on: Mapping[str, Any] = NOTHING
) -> None:
    """Write a network and its moving average, whole or not at all.

    Args:
        trained_on: facts about its images, see `running.images.trained_on`.
    """
    space = model.on(network.in_channels)
    weights = {key: to_timm(each.state_dict(), space) for key, each in ((_WEIGHTS, network), (_AVERAGE, average))}
    content = {**model.values(), "trained_on": dict(trained_on), **weights}
    with replacing(path) as stream:
        torch.save(content, stream)


def child_of(path: Path, content: Mapping[Any, Any], model: Model, num_classes: int, in_channels: int) -> Subnet:
    """The network of a model, with the averaged weights of a file, or the plain ones if there are no averaged ones.

    Args:
        content: of the file, from `read_checkpoint`.

    Raises:
        InputError: the file holds another network; names the first difference.
    """
    try:
        _check_model(content, model)
        space = model.on(in_channels)
        network = Subnet(space, model.arch, num_classes)
        state = network.state_dict()
        network.load_state_dict(from_timm(_fitting(_weights(content), to_timm(state, space)), state, space))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return network


def _check_model(content: Mapping[Any, Any], model: Model) -> None:
    """Compare what the file says; files of other programs say nothing."""
    for key, value in model.values().items():
        if content.get(key, value) != value:
            raise InputError(
                f"holds a network with {key} {content[key]}, but the selected model has {value};"
                " set MODEL_SELECTION, INPUT_ARCH, IMAGE_SIZE or SPACE as in its training"
            )


def _weights(content: Mapping[Any, Any]) -> Mapping[str, Any]:
    for key in (_AVERAGE, _WEIGHTS):
        if isinstance(weights := content.get(key), Mapping):
            return {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    raise InputError(f"has neither {_AVERAGE} nor {_WEIGHTS}, expected a .pth.tar of a retraining")


def _fitting(found: Mapping[str, Any], expected: Mapping[str, Tensor]) -> Mapping[str, Any]:
    """The weights of the file, after a check that they fit the expected network."""
    for name, tensor in expected.items():
        shape = list(found[name].shape) if isinstance(found.get(name), Tensor) else None
        if shape != list(tensor.shape):
            raise InputError(
                f"tensor {name} has shape {shape}, but the selected model expects {list(tensor.shape)};"
                " set MODEL_SELECTION or INPUT_ARCH, and the data set, as in its training"
            )
    if surplus := sorted(found.keys() - expected.keys()):
        raise InputError(
            f"tensor {surplus[0]} does not belong to the selected model; set MODEL_SELECTION or INPUT_ARCH"
        )
    return found


def timm_name(name: str, space: MBConvSpace) -> str:
    """timm's name for a tensor of a `Subnet`."""
    kind, *rest = name.split(".")
    if kind == "head":
        return f"{'conv_head' if rest[0] == 'hidden' else 'classifier'}.{rest[1]}"
    place, _, unit, layer, parameter = rest
    stages = [each.stage for each in space.places]
    stage = stages[int(place)]
    if stage == STEM:
        return f"{'conv_stem' if layer == 'conv' else 'bn1'}.{parameter}"
    units = _SEPARABLE if stage == 0 else _CHOSEN if stage <= len(space.lengths) else (("conv", "bn1"),)
    conv, norm = units[int(unit)]
    known = {"conv": conv, "norm": norm, "reduce": "se.conv_reduce", "expand": "se.conv_expand"}
    return f"blocks.{stage}.{int(place) - stages.index(stage)}.{known[layer]}.{parameter}"


def to_timm(state: Mapping[str, Tensor], space: MBConvSpace) -> dict[str, Tensor]:
    """The state dict of a `Subnet` with timm's names and shapes."""
    named = {timm_name(name, space): tensor for name, tensor in state.items()}
    named[_HIDDEN] = named[_HIDDEN][:, :, None, None]
    return named


def from_timm(state: Mapping[str, Any], names: Mapping[str, Tensor], space: MBConvSpace) -> dict[str, Any]:
    """The tensors that `to_timm` named, for a `Subnet` whose state dict is `names`.

    Raises:
        KeyError: one is missing.
    """
    found = {name: state[timm_name(name, space)] for name in names}
    return {name: value.flatten(1) if timm_name(name, space) == _HIDDEN else value for name, value in found.items()}
