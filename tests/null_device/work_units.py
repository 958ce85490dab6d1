"""What a work unit of the competition's space at 224 pixels costs: memory on cards of several sizes, and launches."""

import gc
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch

from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.scorer import Scorer, memory_limit_mb
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width
from tests.null_device.counters import Device

CARDS_MB = {80: 81079, 40: 40442, 24: 24080, 16: 16150}
MB = 1 << 20


def work_units(device: Device) -> dict[str, dict[str, Any]]:
    """Planned and reserved MB of a work unit, by card and precision.

    On the largest card also its launches for a network and a batch, neither the first calibration nor scoring batch.
    """
    space, place = SPACES["track1"], torch.device("cuda", 0)
    archs = list(make_pool(space, seed=0, size=150).values())
    supernet = Supernet(by_width(space, 1), 1000).to(place)
    images, labels = torch.empty(1024, 3, 224, 224, dtype=torch.uint8), torch.zeros(1024, dtype=torch.int64)
    plan = Scorer(supernet, Inputs(images, 128, images, labels, 1024, (), (), place)).plan(archs)
    unit, found, noted = plan.units[0], dict[str, dict[str, Any]](), list[int]()

    class Noted(Inputs):
        """Inputs that note the launches before each calibration batch."""

        def calibration_batches(self) -> Iterator[torch.Tensor]:
            for batch in super().calibration_batches():
                noted.append(device.counts()["launches"])
                yield batch

    for (card, memory_mb), precision in product(CARDS_MB.items(), ("fp32", "bf16")):
        device.set_mb(memory_mb)
        walk = batch = near = None  # what the unit before held
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        noted.clear()
        counted, limit = card == max(CARDS_MB), memory_limit_mb(place)
        calibration = images[: 384 if counted else 128]
        inputs = Noted(calibration, 128, images, labels, 1024, (0.5,) * 3, (0.25,) * 3, place, precision)
        near, planned = Scorer(supernet, inputs, memory_mb=limit).within_memory(plan)
        seen = {"limit": limit, "planned": planned, "batch": near.batch, "fault": ""}
        try:
            walk = Walk(supernet, unit, near.on_device())
            walk.calibrate()
            batch = next(near.scoring_batches())
            walk.score(*batch)
            if counted:
                before = device.counts()
                walk.score(*batch)
                launches = device.since(before)["launches"], noted[2] - noted[1]
                seen["scoring"], seen["calibrating"] = (each / len(unit.members) for each in launches)
        except torch.OutOfMemoryError as error:
            seen["fault"] = str(error)
        seen |= {"reserved": torch.cuda.max_memory_reserved() / MB, "allocated": torch.cuda.max_memory_allocated() / MB}
        found[f"{card} {precision}"] = seen
    return found
