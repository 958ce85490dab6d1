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
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.fitting.look import UNEVEN
from fewshot_nas.fitting.measure import Machine
from fewshot_nas.fitting.spaces import NEAR
from fewshot_nas.models.checkpoint import read_checkpoint, subnet_of
from fewshot_nas.ranking.confidence import Numbers, balanced, gain, top1
from fewshot_nas.records.files import read_json, write_csv
from fewshot_nas.records.journal import records
from fewshot_nas.results.directories import NetworkDirectory
from fewshot_nas.results.evaluations import no_better
from fewshot_nas.running.images import evaluation_inputs, open_images
from fewshot_nas.space.space import Arch

TITLES = {
    "found": "the found network",
    "reference": "ResNet-18 narrowed",
    "random": "a random network",
}
_COLUMNS = {"macs": "macs", "params": "params", "latency": "latency_us"}  # of a network's row, by measure
_WORDS = {"macs": "multiply-adds", "params": "parameters", "latency": "time"}
_WORST, _THUMB = 12, 112  # images that are shown, and their longer side in pixels


@dataclass(frozen=True)
class Look:
    """A network's answers on the test images.

    Attributes:
        guesses: class indices [N].
        sure: the probabilities of the guesses [N].
    """

    guesses: npt.NDArray[np.int64]
    sure: Numbers

    def right(self, labels: npt.NDArray[np.int64]) -> Numbers:
        """1 where the guess is the label, [N]."""
        return np.asarray(self.guesses == labels, float)


def answered(
    config: Config,
    uneven: float,
    cost: str,
    world: World,
    networks: Mapping[str, NetworkDirectory],
    table: Path,
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """Who won, with intervals, and on which images the winner is wrong, as plain values.

    Args:
        cost: the measure of the first bound, in which costs are compared.
        table: file that gets the class of each image and the guesses of each network.
        uneven: the largest class's training images for one of the smallest; above `UNEVEN`, balanced accuracy decides.
        networks: trained alike, by the names of `TITLES`, the found one first.
        left_out: the reason for each step that was not made.
    """
    space = config.space.build()
    data = open_images(config, space)
    inputs = evaluation_inputs(config, space, data, data.test, world)
    labels, looks, archs = inputs.labels.numpy(), dict[str, Look](), dict[str, Arch]()
    for name, directory in networks.items():
        network, _, archs[name] = subnet_of(directory.chosen, read_checkpoint(directory.chosen))
        looks[name] = _look(network.to(world.device), inputs)
    classes = np.array(data.class_names)
    columns = [classes[each].tolist() for each in (labels, *(look.guesses for look in looks.values()))]
    names = [_name(data.test, place) for place in range(len(labels))]
    write_csv(table, ["image", "label", *looks], zip(names, *columns, strict=True))
    calls_us = Machine(world.device, data.num_classes).calls_us(space, list(archs.values()))
    rows = {}  # what the answer says of each network
    for (name, look), call_us in zip(looks.items(), calls_us, strict=True):
        counted = space.cost(archs[name], num_classes=data.num_classes)
        rows[name] = {
            "title": TITLES[name],
            "code": space.encode(archs[name]),
            "model": str(networks[name].chosen),
            "top1": top1(look.right(labels)),
            "balanced": balanced(look.right(labels), labels),
            "valid_top1": read_json(networks[name].result)["valid"],
            "macs": counted.macs,
            "params": counted.params,
            "latency_us": round(call_us, 1),
        }
    by = "balanced" if uneven > UNEVEN else "top1"
    # Of equal ones the faster is the result.
    winner = max(rows, key=lambda name: (rows[name][by][0], -rows[name]["latency_us"]))
    # Paired, image by image: the same images are hard for all networks.
    differences = {
        name: gain(looks[winner].right(labels), look.right(labels), labels if by == "balanced" else None)
        for name, look in looks.items()
        if name != winner
    }
    shown = looks[winner]
    confusion = np.zeros((data.num_classes, data.num_classes), int)
    np.add.at(confusion, (labels, shown.guesses), 1)
    return {
        "by": by,
        "images": len(labels),
        "winner": winner,
        "networks": rows,
        "differences": differences,
        "sentence": sentence(rows, winner, differences, by, len(labels), cost, left_out)
        + unfit(rows[winner][by], float(np.bincount(labels).max()) / len(labels) if by == "top1" else 1 / len(classes)),
        "device": str(world.device),
        "classes": data.class_names,
        "confusion": confusion.tolist(),
        "wrong": _wrong(data.test, labels, shown, data.class_names),
    }


@torch.inference_mode()
def _look(network: torch.nn.Module, inputs: Inputs) -> Look:
    found = [network(images).float().softmax(-1).max(-1) for images, _ in inputs.scoring_batches()]
    guesses = torch.cat([each.indices for each in found]).cpu().numpy()
    return Look(guesses, torch.cat([each.values for each in found]).cpu().double().numpy())


def sentence(
    rows: Mapping[str, Any],
    winner: str,
    differences: Mapping[str, Sequence[float]],
    by: str,
    images: int,
    cost: str,
    left_out: Mapping[str, str],
) -> str:
    """Who won, by how much, at what cost, and whether that may be chance.

    Args:
        cost: the measure in which costs are compared.
        left_out: the reason for each step that was not made.
    """
    what = "mean accuracy of the classes" if by == "balanced" else "accuracy"
    won = rows[winner]
    title = won["title"][0].upper() + won["title"][1:]
    said = (
        f"{title} is the result: {what} {_percent(won[by])} on {images:,} test images,"
        f" {won['macs'] / 1e6:.1f} M multiply-adds, {won['latency_us'] / 1e3:.2f} ms in torch."
    )
    for name, (value, low, high) in differences.items():
        sure = "beyond chance" if low > 0 else "which may be chance"
        other = rows[name]
        said += (
            f" It is {value:.1f} points [{low:.1f}, {high:.1f}] above {other['title']}, {sure}; that one has"
            f" {_percent(other[by])}, {other['macs'] / 1e6:.1f} M multiply-adds and {other['latency_us'] / 1e3:.2f} ms,"
            f" so by {_WORDS[cost]} it {_dearer(other[_COLUMNS[cost]] / won[_COLUMNS[cost]])}."
        )
    if not differences:
        why = left_out.get("found") or left_out["reference"]
        return f"{said} It was compared with no other network ({why})."
    return f"{said} As these images decided, its accuracy is a little too high."


def unfit(accuracy: Sequence[float], guessing: float) -> str:
    """That a network may be no better than a guess; empty if it is.

    Args:
        accuracy: in percent, with its interval.
        guessing: the share of the images that naming one class for all of them has right.
    """
    if accuracy[1] > 100 * guessing:
        return ""
    return (
        f" Do not use it: naming one class for every image reaches {100 * guessing:.1f} %, which is not below its"
        " interval. Start anew (another --save) with more budget, more images, or fewer classes."
    )


def _dearer(ratio: float) -> str:
    """How a cost differs from another one.

    >>> _dearer(0.77), _dearer(1.04)
    ('costs 23 % less', 'costs about the same')
    """
    if abs(ratio - 1) <= NEAR:
        return "costs about the same"
    return f"costs {100 * abs(ratio - 1):.0f} % {'less' if ratio < 1 else 'more'}"


def unlearned(journal: Path) -> str:
    """That the supernet had learned nothing when the search went by it; empty if it had.

    Args:
        journal: of the search, with the accuracies of all networks that it scored.
    """
    rows = list(records(journal))
    guessing = next(row["manifest"]["guessing"] for row in rows if "manifest" in row)
    top1 = [values[0] for row in rows for values in row.get("scores", {}).values()]
    if not top1 or not no_better(top1, guessing):
        return ""
    return (
        f" The supernet had not learned: its networks reach {sum(top1) / len(top1):.0f} %, guessing up to"
        f" {guessing:.0f} %. So the found network is close to a random one, and the differences say nothing about the"
        " search; start anew (another --save) with more budget."
    )


def _percent(interval: Sequence[float]) -> str:
    value, low, high = interval
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def _wrong(images: Images, labels: npt.NDArray[np.int64], look: Look, classes: Sequence[str]) -> list[dict[str, Any]]:
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
