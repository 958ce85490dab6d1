"""Run every command that computes, once, on the null device, in one process; write what was counted as JSON.

    python -m tests.null_device.every_command OUT.json      in the environment that `build.build` returns

Nothing is computed there, so weights stay as they were drawn and losses are 0. torch's caching allocator is off while
commands run: so every tensor begins with zeros, and nothing reads what another tensor left.
"""

import importlib
import io
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.optim.optimizer import register_optimizer_step_pre_hook

from fewshot_nas import load_supernet, score
from fewshot_nas.computing import DEFAULTS, computing
from tests.null_device.counters import Device, waits
from tests.null_device.work_units import work_units

ROOT = Path(__file__).parents[2]
CODE = "1554322222322212322212323254542444000000004353730000"
FEW = ["data.train_images=128", "data.valid_images=60", "evaluation.calibration_images=64", "run.checkpoint_steps=1000"]
SMALL = ["IMAGE_SIZE=16", "BATCH_SIZE=8", "data.train_images=64", "data.valid_images=20", "run.checkpoint_steps=1000"]
CREAM = [*SMALL, "EPOCHS=2", "FLOPS_MAXIMUM=114", "META_STA_EPOCH=1", "UPDATE_ITER=4", "POOL_SIZE=2", "SLICE=2"]
CREAM += ["CALIBRATION_IMAGES=16", "SHARED_EPOCHS=0", "BOARD=batch"]
PHOTOGRAPHS = [
    "space.preset=track1",
    "space.resolution=64",
    "data.name=folders",
    "data.root=photographs",
    "data.workers=1",
    "training.batch_size=8",
    "evaluation.calibration_images=16",
]
TINY_SPACE = ["space.ratios=[1.0]", "space.pool_digits=[1,1,1,1]", "space.depths=[[1,2],[1,2],[1,2],[1,2]]"]
COMMANDS: dict[str, list[str]] = {
    "train_supernet": ["--save=a", "training.epochs=1", *FEW],
    "train_supernet bf16": [
        "--save=b",
        "training.epochs=1",
        *FEW,
        "run.precision=bf16",
        "training.distill=sandwich",
        "training.dropout=0.2",
        "training.drop_connect=0.2",
        "training.resolutions=[6,8]",
    ],
    "train_supernet deterministic": ["--save=d", "training.epochs=1", *FEW, "run.deterministic=true"],
    "train_supernet photographs": ["--save=p", "training.epochs=1", *PHOTOGRAPHS],
    "train_supernet photographs bf16": ["--save=q", "training.epochs=1", *PHOTOGRAPHS, "run.precision=bf16"],
    "train_few_shot": ["--save=a", "--group_nums=2", "few_shot.epochs=1", *FEW],
    "test": ["--save=a", "--epoch=0", "--json_part=1", "--limit=6", *FEW],
    "test bf16": [
        "--save=a",
        "--split_group=2",
        "--epoch=0",
        "--json_part=1",
        "--limit=6",
        "--precision=bf16",
        *FEW,
    ],
    "search": ["--save=a", "--max", "macs=100M", "--budget=4", "--population=2", "--by=supernet"],
    "train_stand_alone": ["--save=a", "--target_arch_num=1", "stand_alone.epochs=1", *FEW],
    "finetune": ["--save=a", f"--arch={CODE}", "finetune.epochs=1", *FEW],
    "choose": ["--save=a", "--stage=2", *FEW],
    "latency": ["--save=l", "--rounds=1", *TINY_SPACE],
    "export": ["--model=results/a/supernet.pth", f"--arch={CODE}", "--out=network.pt"],
    "cream.search": ["--save=a", *CREAM],
    "cream.search top1 bf16": ["--save=t", *CREAM, "PICK_METHOD=top1", "run.precision=bf16"],
    "cream.search review": [
        "--save=r",
        *CREAM,
        "SHARED_EPOCHS=1",
        "BOARD=review",
        "REVIEWS=1",
        "REVIEW_PATHS=3",
        "FINAL_STEPS=1",
    ],
    "cream.make_pool": ["--size=4", "--out=paths.json", *CREAM],
    "test paths": ["--save=t", "--json_part=1", "--images=20", "run.pool=paths.json"],
    "cream.retrain": ["--save=a", *SMALL, "EPOCHS=1", "COOLDOWN_EPOCHS=1", "WARMUP_EPOCHS=0", "MODEL_SELECTION=14"],
    "cream.test": [*SMALL, "MODEL_SELECTION=14", "RESUME_PATH=results/a/retrain_14/14.pth.tar"],
}


def main(out: Path) -> None:
    """Run everything in the working directory."""
    for name in ("json_file", "configs"):
        Path(name).symlink_to(ROOT / name)
    _photographs(Path("photographs"))
    answer_that_all_is_well()
    seen: dict[str, Any] = {"ranks": _ranks(2)}
    torch.cuda.init()
    torch.cuda.caching_allocator_enable(False)
    device = Device()
    seen["commands"] = {name: _watched(device, name, arguments) for name, arguments in COMMANDS.items()}
    seen["score"] = _scored()
    seen["resumed"] = {
        "train_supernet": _resumed(device, "train_supernet", ["--save=k", "training.epochs=2", *FEW], 3),
        "cream.search": _resumed(device, "cream.search", ["--save=k", *CREAM], 12),
    }
    seen["cpu_s before memory"] = time.process_time()
    torch.cuda.caching_allocator_enable(True)
    seen["work_units"] = work_units(device)
    seen["cpu_s"] = time.process_time()
    out.write_text(json.dumps(seen, indent=1))


def _scored() -> str:
    """Score with a supernet of one's own in main memory; where it is afterwards."""
    supernet = load_supernet("results/a/supernet.pth")
    score(supernet, [CODE], device="cuda", overrides=FEW)
    return str(next(supernet.parameters()).device)


def answer_that_all_is_well() -> None:
    """Let checks of values, which only a device could compute, find that all of them are as they should be."""
    plain = torch.Tensor.all

    def answer(tensor: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        found = plain(tensor, *arguments, **named)
        return found.copy_(torch.ones_like(found, device="cpu").pin_memory(), non_blocking=True)

    torch.Tensor.all = answer


def _watched(device: Device, name: str, arguments: list[str]) -> dict[str, Any]:
    """Run a command; what each step counted, and what went wrong."""
    before, found, said, began = device.counts(), {"fault": ""}, io.StringIO(), time.process_time()
    with _steps(device) as steps, waits() as places, redirect_stdout(said), redirect_stderr(said):
        try:
            assert importlib.import_module(f"fewshot_nas.{name.split()[0]}").main(arguments) == 0
        except BaseException:
            found["fault"] = f"{traceback.format_exc()}\n{said.getvalue()[-2000:]}"
    found["cpu_s"] = time.process_time() - began
    return {**found, **device.since(before), "steps": steps, "places": dict(places)}


@contextmanager
def _steps(device: Device, end_after: int | None = None) -> Iterator[list[dict[str, Any]]]:
    """What is counted between two steps of an optimizer; the first has the start of the program, too."""
    steps: list[dict[str, Any]] = []
    before = [device.counts()]

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        weights = [each for group in optimizer.param_groups for each in group["params"] if each.grad is not None]
        odd = sum(_order(each.grad) != _order(each) for each in weights)
        steps.append({**device.since(before[0]), "odd_gradients": odd})
        before[0] = device.counts()
        if end_after and len(steps) == end_after:
            raise KeyboardInterrupt

    hook = register_optimizer_step_pre_hook(note)
    try:
        yield steps
    finally:
        hook.remove()


def _order(tensor: torch.Tensor) -> list[int]:
    """Strides of the dimensions that have more than one place."""
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def _resumed(device: Device, command: str, arguments: list[str], end_after: int) -> dict[str, Any]:
    """End a training at a step of its second epoch, and give it again."""
    train = importlib.import_module(f"fewshot_nas.{command}").main
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        with _steps(device, end_after) as first, suppress(KeyboardInterrupt):
            train(arguments)
        with _steps(device) as second:
            train(arguments)
    return {"first": len(first), "second": second}


def _ranks(size: int) -> list[dict[str, Any]]:
    """Train in processes as torchrun starts them, each with a device of its own; which devices each has touched."""
    children = []
    for rank in range(size):
        if not (child := os.fork()):
            os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{size}"}
            os.environ |= {"LOCAL_WORLD_SIZE": f"{size}", "MASTER_ADDR": "localhost", "MASTER_PORT": os.environ["PORT"]}
            device = Device()
            found = _watched(device, "train_supernet", ["--save=w", "training.epochs=1", *FEW])
            found["touched"] = [number for number in range(size) if device.touched(number)]
            Path(f"rank{rank}.json").write_text(json.dumps(found))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return [json.loads(Path(f"rank{rank}.json").read_text()) for rank in range(size)]


def _photographs(place: Path) -> None:
    """A few JPEG files in two classes."""
    generator = torch.Generator().manual_seed(0)
    for part, count in (("train", 16), ("val", 4)):
        for label in ("cat", "dog"):
            directory = place / part / label
            directory.mkdir(parents=True)
            for number in range(count):
                pixels = torch.randint(256, (48, 60, 3), dtype=torch.uint8, generator=generator)
                Image.fromarray(pixels.numpy()).save(directory / f"{number}.jpg")


if __name__ == "__main__":
    with computing(DEFAULTS):  # before the device is used first, as commands do it
        main(Path(sys.argv[1]))
