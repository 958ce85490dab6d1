"""A run's images and the inputs of its evaluations, by its settings."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import Config, DataConfig
from fewshot_nas.data.cache import decoded, kept_fingerprint, stored
from fewshot_nas.data.images import ArrayImages, FileImages, Images, calibration_subset
from fewshot_nas.data.sources import KNOWN, ImageData, open_data
from fewshot_nas.data.survey import surveyed
from fewshot_nas.data.transforms import eval_transform
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.records.journal import refuse_difference
from fewshot_nas.running.manifest import fixed_by_network, refuse_settings
from fewshot_nas.running.options import first_line, image_words
from fewshot_nas.space.space import Space

# Images that are scored at once where no setting says it. On a GPU more of them start fewer kernels; fewer are taken if
# they do not fit.
SCORED_AT_ONCE, SCORED_AT_ONCE_ON_GPU = 128, 1024
# What a plan takes where there are no images to count: ImageNet's, with the competition's ranking images.
PLANNED_CLASSES, PLANNED_TRAIN, PLANNED_VALID, PLANNED_TEST = 1_000, 1_281_167, 2_500, 50_000


def images_of(data: DataConfig) -> ImageData:
    """The data set of the settings; what was found out about its images before is not found out again.

    Raises:
        InputError: there is no such data set, or its images cannot be used, see `open_data` and `surveyed`.
    """
    images = open_data(
        data.name,
        data.root,
        train_images=data.train_images,
        valid_images=data.valid_images,
        num_classes=data.num_classes,
        background=data.background,
        evened=data.evened,
    )
    for part in images.lists():
        part.take_fingerprint(kept_fingerprint(part, data.cache))
    if data.name in KNOWN:
        return images
    doubts, odd = surveyed(images, data.cache, workers=data.workers)
    return replace(images, notes=(*images.notes, *odd), doubts=doubts)


def training_images(images: Images, data: DataConfig) -> Images:
    """The images for the loop; with `data.stored_side`, photographs are decoded once and stored."""
    if data.stored_side is None or not isinstance(images, FileImages):
        return images
    return stored(images, data.stored_side, data.cache, workers=data.workers)


def open_images(config: Config, space: Space) -> ImageData:
    """The data set, checked against the space.

    Raises:
        InputError: there is no such data set, or its images do not fit the space.
    """
    images = images_of(config.data)
    if len(images.mean) != space.in_channels:
        raise InputError(
            f"the images of {config.data.name} have {len(images.mean)} channels, but space {space.name} expects"
            f" {space.in_channels}; set space.in_channels={len(images.mean)}"
        )
    _refuse_tiny(space)
    return images


def images_for(
    config: Config, where: Path | str, space: Space, num_classes: int, trained_on: Mapping[str, Any]
) -> ImageData:
    """The data set for a network that is there already, after a comparison of all that its file fixes.

    Args:
        where: the network's file, for messages.
        trained_on: what the file says of its training images.

    Raises:
        InputError: settings or images are of another network, or there is no such data set.
    """
    fixed = fixed_by_network(space, num_classes)
    named = {key: trained_on[key] for key in ("name",) if key in trained_on}
    refuse_settings(config, where, fixed | {"data": fixed["data"] | named})
    data = open_images(config, space)
    refuse_other_images(where, trained_on, data)
    return data


def planned_images(config: Config, space: Space, num_classes: int) -> ImageData:
    """Stand-ins for images that are not there, of one pixel: as many as the settings say, else as ImageNet has."""
    data, channels = config.data, space.in_channels
    train, valid, test = (
        ArrayImages(torch.zeros(count, channels, 1, 1, dtype=torch.uint8), torch.arange(count) % num_classes)
        for count in (data.train_images or PLANNED_TRAIN, data.valid_images or PLANNED_VALID, PLANNED_TEST)
    )
    neutral = (0.5,) * channels
    return ImageData(data.name, train, valid, test, num_classes, neutral, neutral, "photo")


def refuse_other_images(where: Path | str, trained_on: Mapping[str, Any], data: ImageData) -> None:
    """Refuse classes or training images that are not those of a network; what is not known is not compared.

    Raises:
        InputError: names the first differences; of classes, both lists.
    """
    fixed, now = {"data": trained_on}, {"data": data_facts(data)}
    if "classes" in trained_on and data.classes:
        refuse_difference(f"{where} was trained with", fixed, now, _OTHER_CLASSES, ["data.classes"])
    refuse_difference(f"{where} was trained with", fixed, now, _OTHER_IMAGES)


_OTHER_CLASSES = "a network's answers have the order of its own classes, so give them back their names, or train anew"
_OTHER_IMAGES = "give the images that it was trained on (data.name, data.root), or train anew"


def _refuse_tiny(space: Space) -> None:
    """Refuse images that are so small that a feature map would have less than a pixel."""
    least = space.least_resolution
    if space.resolution < least:
        raise InputError(
            f"space.resolution is {space.resolution}, expected at least {least}, because the strides of space"
            f" {space.name} make an image {least} times smaller"
        )


def evaluation_inputs(
    config: Config,
    space: Space,
    data: ImageData,
    scored: Images,
    world: World,
    *,
    at_once: int = SCORED_AT_ONCE,
    decode: bool = True,
    bicubic: bool = False,
) -> Inputs:
    """The inputs of an evaluation: calibration images from the training part, and the images to score on.

    Args:
        at_once: images to score at a time where the settings do not say it.
        decode: False gives tensors of the images' shape without memory, enough to plan with.
        bicubic: as `eval_transform` takes it.

    Raises:
        InputError: a calibration batch is a single image, and the space's smallest maps are single pixels.
    """
    settings = config.evaluation
    # All runs use one seed here, so that runs of different seeds differ in their training only.
    calibration = calibration_subset(data.train, settings.calibration_images, seed=0)
    inputs = Inputs(
        calibration=pixels(config, space, data, calibration, decode=decode, bicubic=bicubic),
        calibration_batch=settings.calibration_batch,
        images=pixels(config, space, data, scored, decode=decode, bicubic=bicubic),
        labels=scored.labels,
        batch=settings.batch_size or at_once,
        mean=data.mean,
        std=data.std,
        device=world.device,
        precision=config.run.precision,
    )
    name = "calibration_batch" if settings.calibration_batch == 1 else "calibration_images"
    refuse_single_values(min(inputs.calibration_sizes, default=0), space.sides()[-1], f"evaluation.{name}")
    return inputs


def refuse_single_values(images: int, side: int, setting: str) -> None:
    """Refuse a batch in which a batch norm would see one value per channel, which has no variance.

    Args:
        images: of the batch, in one process.
        side: of the smallest feature map, in pixels.
        setting: what has to be larger.

    Raises:
        InputError: the batch is a single image, and the map a single pixel.
    """
    if images * side**2 == 1:
        raise InputError(
            f"{setting} gives a process batches of a single image, whose smallest feature maps are single pixels, and"
            " one value has no variance for a batch norm; expected at least 2 images for each process"
        )


def say_shortage(config: Config, data: ImageData, report: Callable[[str], None]) -> None:
    """A sentence if the settings ask for more calibration images than there are training images."""
    wanted, images = config.evaluation.calibration_images, len(data.train)
    if wanted > images:
        report(f"evaluation.calibration_images is {wanted}, but there are {images} training images: all are taken")


def pixels(
    config: Config, space: Space, data: ImageData, images: Images, *, decode: bool = True, bicubic: bool = False
) -> Tensor:
    """Images of the space's size, uint8 [N, C, R, R]; without memory if they are not to be decoded."""
    if decode and len(images):
        transform = eval_transform(data.recipe, space.resolution, bicubic=bicubic)
        return decoded(images, transform, config.data.cache, workers=config.data.workers)
    shape = (len(images), space.in_channels, space.resolution, space.resolution)
    return torch.empty(shape, dtype=torch.uint8, device="cpu" if decode else "meta")


def opened(what: str, data: ImageData, space: str, world: World) -> str:
    """The first line of a command that has opened its images, and a line for each doubt about them."""
    parts = len(data.train), len(data.valid), len(data.test)
    device = f"{world.device}" + (f", {world.size} processes" if world.size > 1 else "")
    return "\n".join([first_line(what, image_words(data.name, data.num_classes, *parts), space, device), *data.doubts])


def data_facts(data: ImageData) -> dict[str, Any]:
    """Facts about a run's images: what its networks are trained on, and the images to rank on."""
    return {**trained_on(data), "valid": _part(data.valid)}


def trained_on(data: ImageData) -> dict[str, Any]:
    """What a network that was trained on these images is tied to: their classes and the images themselves."""
    named = {"classes": data.class_names} if data.classes else {}
    return {"name": data.name, "num_classes": data.num_classes, **named, "train": _part(data.train)}


def _part(images: Images) -> dict[str, Any]:
    return {"images": len(images), "fingerprint": images.fingerprint}
