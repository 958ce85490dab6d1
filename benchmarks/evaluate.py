"""The engine against the plain way, both in one run, on archs that share stem and first stage.

    python benchmarks/evaluate.py                     track1 space at 224 px: about 15 minutes on 2 cores
    python benchmarks/evaluate.py --space px28        28-px space
    python benchmarks/evaluate.py --profile           where the engine's time goes, in a minute or two
    python benchmarks/evaluate.py --count             operations per network and batch instead of time

The plain way extracts, calibrates and measures one subnet at a time, in float32, and is timed on
every n-th arch (`--plain`), half of them before and half after the engine's runs, because the
machine's speed may drift; its time for all archs follows from their multiply-adds. It is timed with
images in torch's usual order of memory, as the field has them, and in the engine's, channels last. Weights are
random, images are noise: neither changes what is computed. For the agreement of the precisions,
an arch's score is the mean log-likelihood of the largest subnet's guesses.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from counting import operations
from machine import duration_s, matmul_gflops
from torch import Tensor
from tqdm import tqdm

from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import score_plainly
from fewshot_nas.evaluation.prefix_tree import Plan
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.ranking.correlation import correlate
from fewshot_nas.space.pool import read_pool
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.split import by_width

PROFILED = 12  # archs


class UsualLayout(Inputs):
    """Images in torch's usual order of memory, which is what the field's code has."""

    def _ready(self, batch: Tensor) -> Tensor:
        return super()._ready(batch).contiguous()


def main() -> None:
    """Measure and print."""
    options = _options()
    torch.set_num_threads(options.threads)
    space, classes = SPACES[options.space], 1000 if options.space == "track1" else 10
    archs = dense_slice(options.archs)
    supernet = random_supernet(space, options.groups, classes)
    inputs = random_inputs(space, options.images, options.calibration, options.batch, classes)
    images = options.images + options.calibration
    if options.count:
        for precision in ("fp32", "bf16"):
            show_counts(supernet, archs, replace(inputs, precision=precision))
        return
    sample = archs[:: max(1, len(archs) // options.plain)]
    if options.profile:
        for precision in ("fp32", "bf16"):
            show_profile(supernet, archs[:PROFILED], replace(inputs, precision=precision))
        return

    plain = {"as usual": UsualLayout(**vars(inputs)), "channels last": inputs}
    seconds = dict.fromkeys(plain, 0.0)
    runs = {}
    for half in (0, 1):  # before the engine's runs and after them
        for name, each in plain.items():
            seconds[name] += duration_s(partial(score_plainly, supernet, tqdm(sample[half::2], f"plain, {name}"), each))
        for precision in ("fp32", "bf16") if half == 0 else ():
            runs[precision] = run_engine(supernet, archs, replace(inputs, precision=precision))

    rates = {name: images * macs(space, sample, classes) / each for name, each in seconds.items()}
    plain_s = {name: images * macs(space, archs, classes) / rate for name, rate in rates.items()}
    peak = {dtype: matmul_gflops(dtype) for dtype in (torch.float32, torch.bfloat16)}
    setting = f"{options.groups} groups, {options.threads} threads"
    print(f"\n{options.space}, {space.resolution} px, {len(archs)} archs, {setting},")
    print(f"{options.calibration} images to calibrate and {options.images} to score, {options.batch} at a time\n")
    print(
        f"{'':22}{'seconds':>9}{'archs/s':>9}{'GFLOP/s':>9}{'of matmul':>11}   speed-up over plain: {', '.join(plain)}"
    )
    for name, each_s in plain_s.items():
        row(f"plain, {name}", each_s, archs, 2e-9 * rates[name], peak[torch.float32], plain_s)
    for (precision, (each_s, plan, _)), dtype in zip(runs.items(), peak, strict=True):
        row(f"engine, {precision}", each_s, archs, 2e-9 * plan.macs * images / each_s, peak[dtype], plain_s)
    plan = runs["fp32"][1]
    print(f"\nthe plan needs {100 * plan.macs / plan.plain_macs:.1f} % of the plain multiply-adds")
    tau = correlate(*(dict(enumerate_scores(scores)) for _, _, scores in runs.values())).kendall
    print(f"tau between the precisions' rankings: {tau.value:.3f} [{tau.low:.3f}, {tau.high:.3f}]")


def run_engine(supernet: Supernet, archs: Sequence[Arch], inputs: Inputs) -> tuple[float, Plan, Tensor]:
    """Seconds, the plan, and a fine-grained score [archs]."""
    start = time.perf_counter()
    plan = Scorer(supernet, inputs).plan(archs)
    scores = torch.zeros(len(archs))
    for unit in tqdm(plan.units, f"engine, {inputs.precision}"):
        walk = Walk(supernet, unit, inputs)
        walk.calibrate()
        with torch.no_grad():
            for pixels, labels in inputs.scoring_batches():
                for leaf, logits in walk.outputs(pixels):
                    likelihood = logits.log_softmax(1).gather(1, labels[:, None]).sum()
                    scores[list(unit.members[leaf])] += likelihood
    return time.perf_counter() - start, plan, scores


def show_profile(supernet: Supernet, archs: Sequence[Arch], inputs: Inputs) -> None:
    """Shares of time by operation, in calibration and in scoring."""
    (unit, *_) = Scorer(supernet, inputs).plan(archs).units
    walk = Walk(supernet, unit, inputs)
    walk.calibrate()  # the first use of each shape builds its kernel
    images = next(inputs.scoring_batches())[0]
    for name, run in (("calibration", walk.calibrate), ("scoring", lambda: list(walk.outputs(images)))):
        with torch.no_grad(), torch.profiler.profile() as profile:
            run()
        rows = sorted(profile.key_averages(), key=lambda row: -row.self_cpu_time_total)
        whole = sum(row.self_cpu_time_total for row in rows)
        shares = (f"{row.key.removeprefix('aten::')} {row.self_cpu_time_total / whole:.0%}" for row in rows[:8])
        print(f"{inputs.precision}, {name}, {whole / 1e6:.1f} s: {', '.join(shares)}")


def show_counts(supernet: Supernet, archs: Sequence[Arch], inputs: Inputs) -> None:
    """Operations of the first unit, with folded weights made for each batch and held; nothing is computed."""
    meta = torch.device("meta")
    supernet, inputs = supernet.to(meta), replace(inputs, device=meta, calibration_batch=len(inputs.calibration))
    (unit, *_) = Scorer(supernet, inputs).plan(archs).units
    for holds, how in ((False, "for each batch"), (True, "once")):
        walk = Walk(supernet, unit, replace(inputs, holds_kernels=holds))
        calibration = operations(walk.calibrate).total()
        batch = inputs.images.to(meta, torch.float32), inputs.labels.to(meta)
        walk.score(*batch)
        scoring = operations(partial(walk.score, *batch)).total()
        each = [f"{count / len(unit.members):.1f}" for count in (calibration, scoring)]
        print(f"{inputs.precision}, folded {how}: {each[0]} operations per network to calibrate, {each[1]} to score")


def dense_slice(count: int) -> list[Arch]:
    """The largest set of archs of the pool with one stem and first stage; `count` at most."""
    alike, space = defaultdict(list), SPACES["px8"]
    for part in read_pool(Path(__file__).parents[1] / "json_file" / "json8", space):
        for arch in part.values():
            begin = (option for option, slot in zip(arch, space.slots, strict=True) if slot.stage == 0)
            alike[tuple(begin)].append(arch)
    return max(alike.values(), key=len)[:count]


def random_supernet(space: Space, groups: int, classes: int) -> Supernet:
    """Weights under which archs differ: fresh ones would all compute their shortcuts."""
    torch.manual_seed(0)
    supernet = Supernet(by_width(space, groups), classes)
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5)
    return supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def random_inputs(space: Space, images: int, calibration: int, batch: int, classes: int) -> Inputs:
    """Noise as images."""
    shape = (space.in_channels, space.resolution, space.resolution)
    pixels = torch.randint(0, 256, (calibration + images, *shape), dtype=torch.uint8)
    labels = torch.randint(0, classes, (images,))
    channel = (0.5,) * space.in_channels
    device = torch.device("cpu")
    return Inputs(pixels[:calibration], batch, pixels[calibration:], labels, batch, channel, channel, device)


def macs(space: Space, archs: Sequence[Arch], classes: int) -> int:
    """Of all archs, for one image."""
    return sum(space.cost(arch, num_classes=classes).macs for arch in archs)


def enumerate_scores(scores: Tensor) -> Iterator[tuple[str, float]]:
    """Scores under names."""
    return ((str(index), score) for index, score in enumerate(scores.tolist()))


def row(
    name: str, seconds: float, archs: Sequence[Arch], gflops: float, peak: float, plain_s: Mapping[str, float]
) -> None:
    """One line of the table."""
    ratios = "".join(f"{each / seconds:9.2f}x" for each in plain_s.values())
    print(f"{name:22}{seconds:9.1f}{len(archs) / seconds:9.2f}{gflops:9.0f}{gflops / peak:11.0%}{ratios}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=sorted(SPACES), default="track1")
    parser.add_argument("--groups", type=int, default=1)
    parser.add_argument("--archs", type=int, default=300)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--calibration", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--plain", type=int, default=20, help="archs to time the plain way on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--count", action="store_true", help="only count operations")
    parser.add_argument("--profile", action="store_true", help="only show where the engine's time goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
