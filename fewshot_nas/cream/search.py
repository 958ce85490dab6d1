"""Search for a path within FLOPs bounds: good paths found so far teach the path that is trained."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from fewshot_nas.cli import Parser, add_run_options, run, run_overrides, speaker
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.flops import Budget, depths_for
from fewshot_nas.cream.found import FORM
from fewshot_nas.errors import InputError
from fewshot_nas.results import SearchDirectory, search_directory
from fewshot_nas.settings import load

if TYPE_CHECKING:
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.cream.search_task import SearchTask
    from fewshot_nas.lifecycle import Training


def main(argv: Sequence[str] | None = None) -> int:
    """Search, into results/<save>/search/."""
    options = _parser().parse_intermixed_args(argv)
    config = load(SearchConfig, options.config, run_overrides(options))
    budget = depths_for(config.FLOPS_MINIMUM, config.FLOPS_MAXIMUM, legacy=config.LEGACY)
    directory = search_directory(options.save)
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.distributed import joined

    with joined(options.device, config.run) as world:
        resolution = config.IMAGE_SIZE or budget.resolution
        training = CreamRun(config, resolution, world, options.resume, speaker(world.is_main))
        training.report(f"depths {budget.depths}, FLOPs counted at {budget.resolution} px, images of {resolution} px")
        training.train(
            directory,
            {"budget": asdict(budget)},
            lambda: _start(training, config, budget, directory),
            lambda task: _finish(training, task, directory),
        )
    return 0


def _start(
    training: "CreamRun", config: SearchConfig, budget: Budget, directory: SearchDirectory
) -> "Training[SearchTask]":
    import torch

    from fewshot_nas.cream.matching import Matching
    from fewshot_nas.cream.paths import PRIOR, UNIFORM
    from fewshot_nas.cream.schedules import SearchSchedule
    from fewshot_nas.cream.search_task import Pace, PathSampler, SearchTask
    from fewshot_nas.cream.step import Teaching
    from fewshot_nas.cream.supernet import CreamSupernet
    from fewshot_nas.data.loader import batch_share
    from fewshot_nas.lifecycle import Training
    from fewshot_nas.runs import placed, seed_weights
    from fewshot_nas.training.board import Board
    from fewshot_nas.training.optimizer import plain_groups, sgd

    data, world, seed, per_epoch = training.data, training.world, config.run.seed, training.per_epoch
    _check_slices(config, batch_share(len(data.train), config.BATCH_SIZE, world.size))
    seed_weights(seed)
    network = placed(CreamSupernet(budget.depths, data.num_classes, len(data.mean)), world)
    matching = placed(Matching(config.SLICE, data.num_classes), world)
    sampler = PathSampler(seed, budget, PRIOR if config.SAMPLING == "prior" else UNIFORM)
    sampler.path(0)  # impossible bounds are refused here, not in the first step
    schedule = SearchSchedule(config.EPOCHS, 0, config.BATCH_SIZE, config.LR, 0.0, seed, config.run.checkpoint_steps)
    task = SearchTask(
        network,
        sgd(plain_groups(network, config.WEIGHT_DECAY), config.MOMENTUM),
        matching,
        torch.optim.Adam(matching.parameters(), config.META_LR),
        Board(config.POOL_SIZE, config.ACC_GAP),
        sampler,
        Teaching(config.META_STA_EPOCH, config.PICK_METHOD, config.SLICE, config.UPDATE_ITER, config.SMOOTHING),
        Pace(per_epoch, schedule.rate(per_epoch)),
        training.inputs(config.CALIBRATION_IMAGES),
        training.due(config.EPOCHS),
        directory.board,
        world,
        config.run.precision,
    )
    return Training(task, training.source("", config.COLOR_JITTER), schedule)


def _check_slices(config: SearchConfig, batch: int) -> None:
    least = (2 if config.PICK_METHOD == "meta" else 1) * config.SLICE
    if batch < least:
        raise InputError(
            f"a process has batches of {batch} images, expected at least {least} for SLICE={config.SLICE};"
            " change BATCH_SIZE or SLICE"
        )


def _finish(training: "CreamRun", task: "SearchTask", directory: SearchDirectory) -> None:
    from fewshot_nas.cream.flops import path_cost
    from fewshot_nas.cream.found import write_found
    from fewshot_nas.cream.paths import format_path

    best, data = task.best(), training.data
    path, accuracy = best.candidate, task.validated(best.candidate)
    cost = path_cost(path, training.resolution, num_classes=data.num_classes, in_channels=len(data.mean))
    known = {"macs": cost.macs, "params": cost.params, "mflops": best.cost}
    scores = {"top1": accuracy.top1, "top5": accuracy.top5, "batch_top1": best.accuracy}
    write_found(directory.chosen, path, training.resolution, {**known, **scores, "data": data.name})
    training.report(
        f"INPUT_ARCH={format_path(path)}: {accuracy.top1:.2f} % with the supernet's weights, {cost.params:,} params,"
        f" {cost.macs:,} MACs; wrote {directory.chosen}"
    )


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.cream.search", description=__doc__)
    add_run_options(parser, FORM)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
