"""The answer: the found network against the reference and a random one, on the same test images, looked at once."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fewshot_nas.config import Config
from fewshot_nas.data.images import FileImages, Images
from fewshot_nas.data.pictures import whole
from fewshot_nas.data.sources import ImageData
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.fitting.measure import Machine
from fewshot_nas.fitting.verdict import TITLES, Terms, sentence, unfit
from fewshot_nas.models.checkpoint import read_checkpoint, subnet_of
from fewshot_nas.ranking.confidence import Numbers, balanced, gain, top1
from fewshot_nas.records.files import read_json, write_csv
from fewshot_nas.results.directories import NetworkDirectory
from fewshot_nas.running.images import evaluation_inputs, open_images
from fewshot_nas.space.space import Arch, Space

_WORST, _THUMB = 12, 112  # images that are shown, and their longer side in pixels
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Look:
    """A network's answers on the test images.

    Attributes:
        guesses: class indices [N].
        sure: the probabilities of the guesses [N].
    """

    guesses: Labels
    sure: Numbers

    def right(self, labels: Labels) -> Numbers:
        """1 where the guess is the label, [N]."""
        return np.asarray(self.guesses == labels, float)


def answered(
    config: Config, world: World, networks: Mapping[str, NetworkDirectory], table: Path, terms: Terms
) -> dict[str, Any]:
    """Who won, with intervals, and on which images the winner is wrong, as plain values.

    Args:
        networks: trained alike, by the names of `TITLES`, the found one first.
        table: file that gets the class of each image and the guesses of each network.
    """
    space = config.space.build()
    data = open_images(config, space)
    inputs = evaluation_inputs(config, space, data, data.test, world)
    labels, looks, archs = inputs.labels.numpy(), dict[str, Look](), dict[str, Arch]()
    for name, directory in networks.items():
        network, _, archs[name] = subnet_of(directory.chosen, read_checkpoint(directory.chosen))
        looks[name] = _look(network.to(world.device), inputs)
    _write_guesses(table, data, labels, looks)
    rows: dict[str, dict[str, Any]] = {
        name: {
            "title": TITLES[name],
            "code": space.encode(archs[name]),
            "model": str(networks[name].chosen),
            "top1": top1(look.right(labels)),
            "balanced": balanced(look.right(labels), labels),
            "valid_top1": read_json(networks[name].result)["valid"],
        }
        for name, look in looks.items()
    }
    for name, values in _costs(space, archs, Machine(world.device, data.num_classes)).items():
        rows[name] |= values
    allowed = [name for name in rows if name not in terms.beyond] or list(rows)
    # Of equal ones the faster is the result.
    winner = max(allowed, key=lambda name: (rows[name][terms.by][0], -rows[name]["latency_us"]))
    found = {
        "by": terms.by,
        "images": len(labels),
        "winner": winner,
        "networks": rows,
        "differences": _differences(looks, winner, labels, terms),
    }
    often = float(np.bincount(labels).max()) / len(labels)  # the class that a guess had better name
    guessing = often if terms.by == "top1" else 1 / data.num_classes
    return found | {
        "sentence": sentence(found, terms) + unfit(rows[winner][terms.by], guessing),
        "left_out": dict(terms.left_out),
        "device": str(world.device),
        "classes": data.class_names,
        "confusion": _confusion(looks[winner], labels, data.num_classes),
        "wrong": _wrong(data.test, labels, looks[winner], data.class_names),
    }


@torch.inference_mode()
def _look(network: torch.nn.Module, inputs: Inputs) -> Look:
    found = [network(images).float().softmax(-1).max(-1) for images, _ in inputs.scoring_batches()]
    guesses = torch.cat([each.indices for each in found]).cpu().numpy()
    return Look(guesses, torch.cat([each.values for each in found]).cpu().double().numpy())


def _write_guesses(table: Path, data: ImageData, labels: Labels, looks: Mapping[str, Look]) -> None:
    classes = np.array(data.class_names)
    columns = [classes[each].tolist() for each in (labels, *(look.guesses for look in looks.values()))]
    names = [_name(data.test, place) for place in range(len(labels))]
    write_csv(table, ["image", "label", *looks], zip(names, *columns, strict=True))


def _costs(space: Space, archs: Mapping[str, Arch], machine: Machine) -> dict[str, dict[str, float]]:
    """Multiply-adds, parameters and latency of networks."""
    calls_us = machine.calls_us(space, list(archs.values()))
    counted = [space.cost(arch, num_classes=machine.classes) for arch in archs.values()]
    return {
        name: {"macs": cost.macs, "params": cost.params, "latency_us": round(call_us, 1)}
        for name, cost, call_us in zip(archs, counted, calls_us, strict=True)
    }


def _differences(looks: Mapping[str, Look], winner: str, labels: Labels, terms: Terms) -> dict[str, list[float]]:
    """By how much the winner is better than each other network, image by image: the same are hard for all."""
    strata = labels if terms.by == "balanced" else None
    right = {name: look.right(labels) for name, look in looks.items()}
    return {name: gain(right[winner], right[name], strata) for name in looks if name != winner}


def _confusion(look: Look, labels: Labels, classes: int) -> list[list[int]]:
    """Counts by class (rows) and guess."""
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, look.guesses), 1)
    rows: list[list[int]] = counts.tolist()
    return rows


def _wrong(images: Images, labels: Labels, look: Look, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The images whose wrong class has the largest probability, small, as JPEG."""
    order = np.argsort(-np.where(look.guesses == labels, -1.0, look.sure), kind="stable")[:_WORST]
    return [
        {
            "name": Path(_name(images, place)).name,
            "label": classes[labels[place]],
            "guess": classes[look.guesses[place]],
            "probability": round(float(look.sure[place]), 4),
            "jpeg": _small(images, place),
        }
        for place in order.tolist()
        if look.guesses[place] != labels[place]
    ]


def _name(images: Images, place: int) -> str:
    return images.names[place] if isinstance(images, FileImages) else f"test image {place}"


def _small(images: Images, place: int) -> str:
    pixels = whole(images.image(place))
    shown = pixels.expand(3, -1, -1) if len(pixels) == 1 else pixels[:3]
    picture = Image.fromarray(shown.permute(1, 2, 0).contiguous().numpy())
    size = max(picture.size)
    scale = _THUMB / size
    picture = picture.resize([max(1, round(scale * side)) for side in picture.size])
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=80)
    return base64.b64encode(content.getvalue()).decode()
