"""Train a published model, or a path that was found, from scratch."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fewshot_nas.cli.main import Parser, run, speaker
from fewshot_nas.cli.settings import load
from fewshot_nas.config import Config
from fewshot_nas.cream.config import RetrainConfig
from fewshot_nas.cream.model import FORM, add_path_option, path_overrides
from fewshot_nas.options import add_run_options, run_overrides, run_words
from fewshot_nas.results.run import retrain_directory

if TYPE_CHECKING:
    from fewshot_nas.cream.model import Model
    from fewshot_nas.cream.retrain_task import RetrainTask
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.running.life import Training

_CALIBRATION_IMAGES = 256
_FIRST_WEIGHTS = 0.01  # share of the first weights in the average, from which on they are felt


def main(argv: Sequence[str] | None = None) -> int:
    """Train one network, into results/<save>/retrain_<name>/."""
    options = _parser().parse_intermixed_args(argv)
    config = load(RetrainConfig, options.config, path_overrides(options.from_search, run_overrides(options)), (Config,))
    model, directory, words = config.model(), retrain_directory(options.save, config.name), run_words(options)
    from fewshot_nas.cream.checkpoint import save_child
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.distributed import joined
    from fewshot_nas.running.images import trained_on

    with joined(options.device, config.run) as world:
        report = speaker(world.is_rank0)
        training = CreamRun(config, model.resolution, world, options.resume, report, words=words, plan=options.plan)

        training.begin()
        unlike = "" if options.from_search else config.unlike_public()
        for line in filter(None, (unlike, *_about(config, training))):
            training.report(line)

        def finish(task: "RetrainTask") -> None:
            save_child(directory.chosen, model, task.network, task.average.module, trained_on(training.data))
            training.report(f"wrote {directory.chosen}")

        facts = {"path": model.code, "resolution": model.resolution, **statistics(training, config)}
        training.train(directory, facts, lambda: start_training(training, config, model), finish)
    return 0


def _about(config: RetrainConfig, training: "CreamRun") -> Iterator[str]:
    """What may surprise: epochs beyond EPOCHS, and an average that is still the first weights."""
    if config.COOLDOWN_EPOCHS:
        yield f"{config.EPOCHS} epochs, and {config.COOLDOWN_EPOCHS} more at the rate MIN_LR (COOLDOWN_EPOCHS)"
    steps = _steps(training, config)
    first = config.EMA_DECAY**steps
    if first > _FIRST_WEIGHTS:
        most = _FIRST_WEIGHTS ** (1 / steps)
        yield (
            f"EMA_DECAY is {config.EMA_DECAY}: after {steps} steps {100 * first:.0f} % of the averaged weights, which"
            f" are the result, are those of the beginning; at most {most:.4g} suits so few steps"
        )


def _steps(training: "CreamRun", config: RetrainConfig) -> int:
    return (config.EPOCHS + config.COOLDOWN_EPOCHS) * training.per_epoch


def statistics(training: "CreamRun", config: RetrainConfig) -> dict[str, str]:
    """The fact that batch norms are calibrated before a network is measured, if the training is short."""
    from fewshot_nas.training.stand_alone import STEADY_STEPS

    steps = _steps(training, config)
    short = steps < STEADY_STEPS or config.EMA_DECAY**steps > _FIRST_WEIGHTS
    return {"statistics": "calibrated"} if short else {}


def start_training(training: "CreamRun", config: RetrainConfig, model: "Model") -> "Training[RetrainTask]":
    """A network with first weights that depend on the seed alone, and its recipe."""
    from timm.optim.rmsprop_tf import RMSpropTF
    from timm.utils.model_ema import ModelEmaV3

    from fewshot_nas.cream.retrain_task import RetrainTask
    from fewshot_nas.cream.schedules import RetrainSchedule
    from fewshot_nas.models.subnet import Subnet
    from fewshot_nas.running.life import Training
    from fewshot_nas.running.run import placed, seed_weights
    from fewshot_nas.training.optimizer import plain_groups

    data, world = training.data, training.world
    seed_weights(config.run.seed)
    network = placed(Subnet(model.on(len(data.mean)), model.arch, data.num_classes), world)
    network.head.dropout = config.DROPOUT
    epochs, batch = config.EPOCHS + config.COOLDOWN_EPOCHS, config.BATCH_SIZE
    task = RetrainTask(
        network,
        ModelEmaV3(network, decay=config.EMA_DECAY),
        RMSpropTF(plain_groups(network, config.WEIGHT_DECAY), alpha=0.9, eps=1e-3, momentum=0.9),
        training.inputs(training.data.valid, _CALIBRATION_IMAGES if statistics(training, config) else 0),
        training.due(epochs),
        config.SMOOTHING,
        config.run.precision,
    )
    schedule = RetrainSchedule(
        epochs=epochs,
        warmup_epochs=config.WARMUP_EPOCHS,
        batch_size=batch,
        lr=config.LR * batch / 1024,
        clip_value=0.0,
        seed=config.run.seed,
        checkpoint_steps=config.run.checkpoint_steps,
        warmup_lr=config.WARMUP_LR,
        min_lr=config.MIN_LR,
        cooldown_epochs=config.COOLDOWN_EPOCHS,
    )
    return Training(task, training.source(config.AUTO_AUGMENT, jitter=0.0), schedule)


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.cream.retrain", description=__doc__)
    add_path_option(parser)
    add_run_options(parser, FORM)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
