"""The deployment card: what somebody who has only an exported network needs to know to use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.block import Block
from fewshot_nas.space.cost import total_cost
from fewshot_nas.space.search_space import SearchSpace

FORMAT = "fewshot_nas card 1"
KEY = "fewshot_nas.card"  # of the metadata in files


@dataclass(frozen=True)
class Knowledge:
    """What is known of a network beside its weights; all of it empty where no settings tell the images.

    Attributes:
        preprocessing: from an image to the network's input, in order; pixels are 0..255.
        classes: names, by index.
        scores: accuracies in percent, each with the images that it was measured on.
        calibration: the images that the batch norm statistics come from.
        source: the file that the network comes from, and its digest.
    """

    preprocessing: Mapping[str, Any] | None = None
    classes: Sequence[str] = ()
    scores: Sequence[Mapping[str, Any]] = ()
    calibration: Mapping[str, Any] | None = None
    source: Mapping[str, str] = field(default_factory=dict)


def deployment_card(
    space: SearchSpace, arch: Arch, num_classes: int, resolution: int, known: Knowledge
) -> dict[str, Any]:
    """A card as JSON holds it, without the digests of the files that it goes into.

    Args:
        resolution: side of the network's input, in pixels.
    """
    blocks = space.blocks(arch)
    cost = total_cost(space, arch, resolution=resolution, num_classes=num_classes)
    return {
        "format": FORMAT,
        "made_by": f"fewshot-nas {version('fewshot-nas')}",
        "code": space.encode(arch),
        "space": space.name,
        "depths": list(arch.depths),
        "block": space.block,
        "stem": {"width": blocks[0].inputs, "kernel": space.stem_kernel, "stride": space.stem_stride},
        "blocks": [_row(each) for each in blocks],
        "macs": cost.macs,
        "parameters": cost.params,
        "input": {"shape": ["batch", space.in_channels, resolution, resolution], "dtype": "float32"},
        "preprocessing": known.preprocessing,
        "output": {"logits": num_classes},
        "classes": list(known.classes),
        "scores": list(known.scores),
        "calibration": known.calibration,
        "source": dict(known.source),
    }


def _row(block: Block) -> dict[str, int]:
    return {"stage": block.stage + 1, "mid": block.mid, "out": block.out, "stride": block.stride}
