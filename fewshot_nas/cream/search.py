"""Search for a path within FLOPs bounds: good paths found so far teach the path that is trained."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run, speaker
from fewshot_nas.cli.settings import load
from fewshot_nas.config import Config
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.flops import Budget
from fewshot_nas.cream.model import FORM
from fewshot_nas.options import add_run_options, run_overrides, run_words
from fewshot_nas.results.directories import SearchDirectory
from fewshot_nas.results.run import search_directory
from fewshot_nas.space.space import Arch

if TYPE_CHECKING:
    from fewshot_nas.cream.board import BoardEntry
    from fewshot_nas.cream.board_keeping import BoardKeeping
    from fewshot_nas.cream.finals import Finals
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.cream.search_task import SearchTask
    from fewshot_nas.running.life import Training


def main(argv: Sequence[str] | None = None) -> int:
    """Search, into results/<save>/search/."""
    options = _parser().parse_intermixed_args(argv)
    config = load(SearchConfig, options.config, run_overrides(options), (Config,))
    budget, words = config.budget(), run_words(options)
    directory = search_directory(options.save)
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.distributed import joined

    with joined(options.device, config.run) as world:
        resolution, report = config.IMAGE_SIZE or budget.space.resolution, speaker(world.is_rank0)
        training = CreamRun(
            config, resolution, world, options.resume, report, config.held_images, words, plan=options.plan
        )
        training.begin()
        counted = f"depths {budget.space.lengths}, FLOPs counted at {budget.space.resolution} px"
        training.report(f"{counted}, images of {resolution} px")
        training.train(
            directory,
            {"space": config.network(len(training.images.mean)).values()},
            lambda: _start(training, config, budget, directory),
            lambda task: _finish(training, config, task, directory),
        )
    return 0


def _start(
    training: "CreamRun", config: SearchConfig, budget: Budget, directory: SearchDirectory
) -> "Training[SearchTask]":
    import torch

    from fewshot_nas.cream.flops import PRIOR, UNIFORM
    from fewshot_nas.cream.matching import Matching
    from fewshot_nas.cream.schedules import SearchSchedule
    from fewshot_nas.cream.search_task import PathSampler, SearchTask
    from fewshot_nas.cream.teaching import BoardTeacher
    from fewshot_nas.models.supernet import Supernet
    from fewshot_nas.running.images import trained_on
    from fewshot_nas.running.life import Training
    from fewshot_nas.running.run import placed, seed_weights
    from fewshot_nas.space.split import one_shot, shared
    from fewshot_nas.training.optimizer import plain_groups, sgd
    from fewshot_nas.training.step import Regularization, Step

    data, world, seed, per_epoch = training.data, training.world, config.run.seed, training.per_epoch
    if config.SHARED_EPOCHS >= config.EPOCHS:
        raise InputError(
            f"SHARED_EPOCHS is {config.SHARED_EPOCHS}, expected less than EPOCHS, which is {config.EPOCHS}"
        )
    _check_slices(config, training.batch // world.size, len(training.held))  # rank 0 has the slices
    seed_weights(seed)
    space = config.network(len(data.mean))
    split = shared(space) if config.SHARED_EPOCHS else one_shot(space)
    network = placed(Supernet(split, data.num_classes), world)
    network.trained_on = trained_on(training.images)
    matching = placed(Matching(config.SLICE, data.num_classes), world)
    sampler = PathSampler(seed, budget, PRIOR if config.SAMPLING == "prior" else UNIFORM)
    sampler.path(0)  # impossible bounds are refused here, not in the first step
    schedule = SearchSchedule(
        epochs=config.EPOCHS,
        warmup_epochs=0,
        batch_size=config.BATCH_SIZE,
        lr=config.LR,
        clip_value=0.0,
        seed=seed,
        checkpoint_steps=config.run.checkpoint_steps,
    )
    keeping = _keeping(training, config, budget)
    teacher = BoardTeacher(
        keeping=keeping,
        matching=matching,
        optimizer=torch.optim.Adam(matching.parameters(), config.META_LR),
        per_epoch=per_epoch,
        rate=schedule.rate(per_epoch),
        world=world,
        start_epoch=config.META_STA_EPOCH,
        pick=config.PICK_METHOD,
        slice=config.SLICE,
        every=config.TEACH_EVERY,
        update_every=config.UPDATE_ITER,
    )
    smoothed, precision = Regularization(config.SMOOTHING), config.run.precision
    task = SearchTask(
        network=network,
        optimizer_of=lambda supernet: sgd(plain_groups(supernet, config.WEIGHT_DECAY), config.MOMENTUM),
        step=Step(sampler, teacher=teacher, regularization=smoothed, precision=precision),
        world=world,
        sampler=sampler,
        teacher=teacher,
        keeping=keeping,
        inputs=training.inputs(data.valid, config.CALIBRATION_IMAGES),
        due=training.due(config.EPOCHS),
        board_file=directory.board,
        shared_epochs=config.SHARED_EPOCHS,
    )
    return Training(task, training.source("", config.COLOR_JITTER), schedule)


def _keeping(training: "CreamRun", config: SearchConfig, budget: Budget) -> "BoardKeeping":
    from fewshot_nas.cream.board import Board
    from fewshot_nas.cream.board_keeping import ByBatch, ByReview, review_steps

    world, first = training.world, config.SHARED_EPOCHS * training.per_epoch
    board: Board[Arch] = Board(config.POOL_SIZE, config.ACC_GAP)
    if config.BOARD == "batch":
        return ByBatch(board, budget, config.SLICE, world, first=first)
    return ByReview(
        board=board,
        budget=budget,
        inputs=training.inputs(training.held, config.CALIBRATION_IMAGES),
        steps=review_steps(first, config.EPOCHS * training.per_epoch, config.REVIEWS),
        size=config.POOL_SIZE,
        candidates=config.REVIEW_PATHS,
        seed=config.run.seed,
        images_kept=config.SLICE,
        world=world,
    )


def _check_slices(config: SearchConfig, batch: int, held: int) -> None:
    """The matching network compares SLICE images, of a batch or of the held ones, which a board by reviews keeps."""
    least = (2 if config.PICK_METHOD == "meta" else 1) * config.SLICE
    if batch < least:
        raise InputError(
            f"a process has batches of {batch} images, expected at least {least} for SLICE={config.SLICE};"
            " change BATCH_SIZE or SLICE"
        )
    if config.BOARD == "review" and config.PICK_METHOD == "meta" and held < config.SLICE:
        raise InputError(
            f"only {held} images are held out for reviews, expected at least {config.SLICE} for SLICE={config.SLICE};"
            " raise HELD_IMAGES or data.train_images, at most an eighth of which is held out, or lower SLICE"
        )


def finals_of(training: "CreamRun", config: SearchConfig) -> "Finals":
    """How paths train alone before the last decision, on one process and with its share of a batch."""
    from fewshot_nas.cream.finals import Finals
    from fewshot_nas.data.loader import TrainBatches

    world, source = training.world, training.source("", config.COLOR_JITTER)
    batches = TrainBatches(
        source.images,
        source.transform,
        batch_size=max(2, config.BATCH_SIZE // world.size),
        seed=config.run.seed,
        workers=source.workers,
        device=world.device,
    )
    return Finals(
        batches=batches,
        first_epoch=config.EPOCHS,
        inputs=training.inputs(training.held, config.CALIBRATION_IMAGES),
        steps=config.FINAL_STEPS,
        rate=config.FINAL_LR,
        momentum=config.MOMENTUM,
        weight_decay=config.WEIGHT_DECAY,
        smoothing=config.SMOOTHING,
        precision=config.run.precision,
    )


def _finish(training: "CreamRun", config: SearchConfig, task: "SearchTask", directory: SearchDirectory) -> None:
    from fewshot_nas.cream.model import Model, write_model
    from fewshot_nas.evaluation.accuracy import guessing
    from fewshot_nas.models.checkpoint import save_supernet

    task.keeping.apply_pending()
    best, decided = _decided(training, config, task)
    data, path, accuracy = training.data, best.candidate, task.validated(best.candidate)
    model = Model(config.network(len(data.mean)), path)
    cost = model.space.cost(path, num_classes=data.num_classes)
    known = {"macs": cost.macs, "params": cost.params, "mflops": best.cost}
    scores = {"top1": accuracy.top1, "top5": accuracy.top5, task.keeping.measure: best.accuracy}
    scores["guessing"] = guessing(task.inputs.labels)
    save_supernet(directory.supernet, task.network, {"epoch": config.EPOCHS - 1})
    write_model(directory.chosen, model, {**known, **scores, **decided, "data": data.name})
    training.report(
        f"INPUT_ARCH={model.code}: top-1 {accuracy.top1:.2f} % with the supernet's weights,"
        f" {cost.params:,} params, {cost.macs:,} MACs; wrote {directory.chosen}"
    )


def _decided(
    training: "CreamRun", config: SearchConfig, task: "SearchTask"
) -> tuple["BoardEntry[Arch]", dict[str, Any]]:
    """The entry of the board that is the result, and what decided it beside the board."""

    entries, encode = task.keeping.board.entries, task.network.space.encode
    if not config.FINAL_STEPS:
        return entries[0], {}
    found = finals_of(training, config).scores(task.network, [entry.candidate for entry in entries])
    probs = [accuracy.prob for accuracy in found]
    finals = [
        {"INPUT_ARCH": encode(entry.candidate), task.keeping.measure: entry.accuracy, "final_prob": prob}
        for entry, prob in zip(entries, probs, strict=True)
    ]
    return entries[probs.index(max(probs))], {"final_prob": max(probs), "finals": finals}


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.cream.search", description=__doc__)
    add_run_options(parser, FORM)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
