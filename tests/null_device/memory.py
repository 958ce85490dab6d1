"""The memory that an evaluation of the competition's space reserves on cards of several sizes, against its plan."""

import gc
from itertools import product
from typing import Any

import torch

from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.memory_limit import memory_limit_mb
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width
from tests.null_device.counters import Device

CARDS_MB = {80: 81079, 40: 40442, 24: 24080, 16: 16150}
MB = 1 << 20


def reserved(device: Device) -> dict[str, dict[str, Any]]:
    """Planned and reserved MB of a work unit, for each card and precision."""
    space, place = SPACES["track1"], torch.device("cuda", 0)
    archs = list(make_pool(space, seed=0, size=150).values())
    supernet = Supernet(by_width(space, 1), 1000).to(place)
    images, labels = torch.empty(1024, 3, 224, 224, dtype=torch.uint8), torch.zeros(1024, dtype=torch.int64)
    plan = Scorer(supernet, Inputs(images, 128, images, labels, 1024, (), (), place)).plan(archs)
    found: dict[str, dict[str, Any]] = {}
    for (card, memory_mb), precision in product(CARDS_MB.items(), ("fp32", "bf16")):
        device.set_mb(memory_mb)
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        limit = memory_limit_mb(place)
        inputs = Inputs(images[:128], 128, images, labels, 1024, (0.5,) * 3, (0.25,) * 3, place, precision)
        scorer = Scorer(supernet, inputs, memory_mb=limit)
        near, planned = scorer.within_memory(plan)
        seen = {"limit": limit, "planned": planned, "batch": near.batch, "fault": ""}
        try:
            dict(scorer.results(plan, [0]))
        except torch.OutOfMemoryError as error:
            seen["fault"] = str(error)
        seen |= {"reserved": torch.cuda.max_memory_reserved() / MB, "allocated": torch.cuda.max_memory_allocated() / MB}
        found[f"{card} {precision}"] = seen
    return found
