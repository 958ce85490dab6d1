"""What only a GPU can show. Each check runs on the CPU too, so that it cannot rot where there is none.

python -m tests.gpu.checks cuda OUT.json       the table, printed and as JSON; `scripts/test.sh --gpu` does it
"""

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from fewshot_nas.computing import DefaultSettings
from fewshot_nas.distributed import joined
from fewshot_nas.evaluation.engine import Walk, fused_on
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.scorer import Scorer, memory_limit_mb
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch
from fewshot_nas.space.split import by_width
from fewshot_nas.train_supernet import main as train
from tests.rounding import plain_logits

MB = 1 << 20
TINY = ["data.train_images=32", "data.valid_images=20", "evaluation.calibration_images=16", "training.batch_size=16"]


@dataclass(frozen=True)
class Row:
    """A line of the table: what was found, and the most that it may be; None where any value is fine."""

    check: str
    found: float
    most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the value is within its bound."""
        return self.most is None or self.found <= self.most


def inputs_of(device: torch.device, precision: str, images: int, side: int, channels: int, batch: int) -> Inputs:
    """Random images, a third of them to calibrate on."""
    pixels = torch.randint(256, (images, channels, side, side), dtype=torch.uint8)
    labels = torch.zeros(images, dtype=torch.int64)
    mean = (0.5,) * channels
    return Inputs(pixels[: images // 3], 8, pixels, labels, batch, mean, mean, device, precision)


def engine(device: torch.device, name: str, most: float) -> list[Row]:
    """How far logits of the engine, with whatever kernels it takes there, lie from those of the plain way."""
    space, precision = SPACES["px28"], "bf16" if name == "bf16" else "fp32"
    torch.manual_seed(0)
    with joined(str(device), DefaultSettings(tf32=name == "TF32")) as world:
        supernet = Supernet(by_width(space, 2), 10).to(world.device)
        inputs = inputs_of(world.device, precision, 24, 28, space.in_channels, 8)
        inputs = replace(inputs, holds_kernels=world.device.type == "cuda")
        archs = [random_arch(space, random.Random(seed), space.pool_options) for seed in range(3)]
        worst = 0.0
        for unit in Scorer(supernet, inputs).plan(archs).units:
            walk = Walk(supernet, unit, inputs)
            walk.calibrate()
            with torch.no_grad():
                parts = [dict(walk.outputs(images)) for images, _ in inputs.scoring_batches()]
            for number, (member, *_) in enumerate(unit.members):
                ours = torch.cat([part[number] for part in parts]).float()
                plain = plain_logits(supernet, archs[member], inputs).float()
                worst = max(worst, float((ours - plain).norm() / plain.norm()))
        fused = fused_on(world.device, torch.bfloat16 if name == "bf16" else torch.float32) is not None
    return [Row(f"engine and plain way, {name}: relative difference of logits (fused: {fused})", worst, most)]


def resumed(device: torch.device) -> list[Row]:
    """Weights that differ between an unbroken training and one that was ended in its second epoch, and given again."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as place, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        os.chdir(place)
        try:
            deterministic = "true" if device.type == "cuda" else "false"  # the CPU always is
            words = [f"--device={device}", "training.epochs=2", f"run.deterministic={deterministic}", *TINY]
            train(["--save=unbroken", *words])
            with _ended_at(4), suppress(KeyboardInterrupt):
                train(["--save=broken", *words])
            assert not Path("results/broken/supernet.pth").exists()
            train(["--save=broken", *words])
            files = (f"results/{name}/supernet.pth" for name in ("unbroken", "broken"))
            one, two = (torch.load(file, weights_only=True, map_location="cpu")["model"] for file in files)
        finally:
            os.chdir(here)
    different = sum(not torch.equal(one[name], two[name]) for name in one)
    return [Row("tensors that a resumed training changes (run.deterministic=true)", different, 0)]


class _ended_at:  # noqa: N801
    """Ends a training before a step of its optimizer."""

    def __init__(self, step: int) -> None:
        self._left = step

    def __enter__(self) -> None:
        self._hook = register_optimizer_step_pre_hook(self._count)

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _count(self, *_: Any) -> None:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt


def memory(device: torch.device) -> list[Row]:
    """Memory that a work unit plans and takes, and how fast it scores: at 224 pixels on a GPU, small on the CPU."""
    on_gpu = device.type == "cuda"
    space, count, batch = (SPACES["track1"], 300, 1024) if on_gpu else (SPACES["px8"], 4, 8)
    with joined(str(device), DefaultSettings()) as world:
        supernet = Supernet(by_width(space, 1), 10).to(world.device)
        inputs = inputs_of(world.device, "fp32", 2 * batch, space.resolution, space.in_channels, batch)
        inputs = replace(inputs, calibration_batch=128 if on_gpu else 8)
        archs = [random_arch(space, random.Random(seed), space.pool_options) for seed in range(count)]
        scorer = Scorer(supernet, inputs, memory_mb=memory_limit_mb(world.device))
        plan = scorer.plan(archs)
        near, planned = scorer.within_memory(plan)
        walk = Walk(supernet, plan.units[0], near.on_device())
        walk.calibrate()
        batches = list(near.scoring_batches())
        walk.score(*batches[0])
        began = float(walk._sums.sum()) * 0 + time.perf_counter()  # reading a value waits for the device
        walk.score(*batches[1])
        seconds = float(walk._sums.sum()) * 0 + time.perf_counter() - began
        rows = [Row(f"ms to score a network of {space.name} on {near.batch} images", 1e3 * seconds / len(walk._sums))]
        if on_gpu:
            reserved = torch.cuda.max_memory_reserved() / MB
            rows.append(Row("MB that an evaluation at 224 pixels reserves, of those planned", reserved, planned))
    return rows


CHECKS: dict[str, Callable[[torch.device], list[Row]]] = {
    "engine fp32": lambda device: engine(device, "fp32", 1e-4),
    "engine TF32": lambda device: engine(device, "TF32", 0.02),
    "engine bf16": lambda device: engine(device, "bf16", 0.1),
    "resumed": resumed,
    "memory": memory,
}


def main(argv: Sequence[str]) -> int:
    """Print the table; status 1 if a check does not hold."""
    device, out = torch.device(argv[0]), Path(argv[1])
    rows = [row for check in CHECKS.values() for row in check(device)]
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}\n")
    print("| check | found | at most | holds |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.check} | {row.found:.4g} | {'' if row.most is None else f'{row.most:.4g}'} | {row.holds} |")
    out.write_text(json.dumps([{**asdict(row), "holds": row.holds} for row in rows], indent=1))
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
