"""What the pipeline costs at ImageNet's size, counted from the plan; nothing is trained or scored.

    python -m studies.scale.run                     about a minute; multiply-adds, and what moves between GPUs
    python -m studies.scale.run --tmacs 20 30       hours, too, by rates of a GPU: training, scoring

Rates are in 10^12 multiply-adds a second: measure yours with scripts/rehearse.sh.
"""

import argparse
from collections.abc import Iterator, Sequence
from statistics import fmean

from fewshot_nas.config import Config, RecipeConfig, load_config
from fewshot_nas.evaluation.prefix_tree import make_plan
from fewshot_nas.evaluation.scorer import UNIT_NETWORKS
from fewshot_nas.models.subnet import blueprint
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.pool import read_pool
from fewshot_nas.space.space import Arch
from fewshot_nas.space.split import by_width
from studies.common import ROOT

TRAIN, TEST, CLASSES = 1_281_167, 50_000, 1000
GPUS = (1, 8, 32)  # the last are not in one machine, where hours do not follow from rates
BACKWARD = 3  # a training step computes forward once and about twice as much backward
ALONE, PHASES = 30, 6


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tmacs", type=float, nargs=2, metavar=("TRAINING", "SCORING"))
    options = parser.parse_args()
    config = load_config(ROOT / "configs" / "imagenet.yml")
    print("\n".join([*times(config, options.tmacs), "", *traffic(config)]))


def times(config: Config, tmacs: Sequence[float] | None) -> Iterator[str]:
    """Multiply-adds of each part, and with rates its hours on so many GPUs."""
    columns = GPUS[:-1] if tmacs else ()
    yield "| part | multiply-adds |" + "".join(f" {gpus} GPU{'s' * (gpus > 1)}, h |" for gpus in columns)
    yield "|---|---|" + "---|" * len(columns)
    for place, rows in enumerate((trainings(config), evaluations(config))):
        for name, macs in rows:
            hours = (f" {macs / (tmacs[place] * 1e12) / gpus / 3600:,.1f} |" for gpus in columns if tmacs)
            yield f"| {name} | {macs:.2e} |{''.join(hours)}"


def trainings(config: Config) -> Iterator[tuple[str, float]]:
    """Multiply-adds of the trainings."""
    space, pool = config.space.build(), archs_of(config)[0][:200]

    def macs_of(arch: Arch, resolution: int) -> int:
        return space.cost(arch, resolution=resolution, num_classes=CLASSES).macs

    def mean_macs(resolution: int) -> float:
        return fmean(macs_of(arch, resolution) for arch in pool)

    sides, digits = config.training.resolutions, space.pool_options
    step: float = macs_of(space.largest, max(sides)) + macs_of(space.extreme(digits, largest=False), min(sides))
    step += config.training.random_subnets * fmean(map(mean_macs, sides))

    def epochs(settings: RecipeConfig, macs: float) -> float:
        return settings.epochs * TRAIN * BACKWARD * macs

    yield "one-shot", epochs(config.training, step)
    yield f"{PHASES} few-shot phases", PHASES * epochs(config.few_shot, step)
    yield f"{ALONE} archs alone", ALONE * epochs(config.stand_alone, mean_macs(space.resolution))


def archs_of(config: Config) -> list[list[Arch]]:
    """The archs of each part of the pool."""
    return [list(part.values()) for part in read_pool(config.run.pool_path, config.space.build())]


def evaluations(config: Config) -> Iterator[tuple[str, float]]:
    """Multiply-adds of 45,000 archs, in eight parts and together, with the calibration images and the test images."""
    space = config.space.build()
    images = config.evaluation.calibration_images + TEST
    parts = archs_of(config)

    def planned(archs: list[Arch]) -> tuple[int, int]:
        plan = make_plan(by_width(space, 7), archs, unit_networks=UNIT_NETWORKS, num_classes=CLASSES)
        return plan.macs, plan.plain_macs

    found = [planned(part) for part in parts]
    together, plain = planned([arch for part in parts for arch in part])
    yield "45,000 archs in eight parts", sum(macs for macs, _ in found) * images
    yield "the same as one (`--json_part=1-8`)", together * images
    yield "the same one arch at a time", plain * images


def traffic(config: Config) -> Iterator[str]:
    """Megabytes that a training step's reduction moves, sent by each GPU of a ring."""
    space = config.space.build()
    yield "| supernet | parameters | buffer, MB | " + " | ".join(f"sent by each of {n}, MB" for n in GPUS[1:]) + " |"
    yield "|---|---|---|" + "---|" * len(GPUS[1:])
    for groups in (1, 7):
        supernet = blueprint(lambda groups=groups: Supernet(by_width(space, groups), CLASSES))
        count = sum(parameter.numel() for parameter in supernet.parameters())
        sent = (f"{2 * (n - 1) / n * 4 * count / 1e6:,.0f}" for n in GPUS[1:])
        name = "one-shot" if groups == 1 else f"{groups} groups"
        yield f"| {name} | {count / 1e6:.1f} M | {4 * count / 1e6:,.0f} | {' | '.join(sent)} |"


if __name__ == "__main__":
    main()
