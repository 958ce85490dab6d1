"""Building the `Scorer` that commands and notebooks use, from settings, a supernet and images."""

from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import Config
from fewshot_nas.data.images import Images
from fewshot_nas.data.sources import ImageData
from fewshot_nas.distributed import World, gathered
from fewshot_nas.evaluation.accuracy import guessing
from fewshot_nas.evaluation.executors import Executor, executor_for
from fewshot_nas.evaluation.memory import memory_limit_mb
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import sha256
from fewshot_nas.results.run import within_run
from fewshot_nas.running.images import SCORED_AT_ONCE, SCORED_AT_ONCE_ON_GPU, evaluation_inputs


def scorer_for(
    config: Config,
    model: Path | str,
    supernet: Supernet,
    data: ImageData,
    scored: Images,
    world: World,
    executor: Executor | None = None,
    *,
    computes: bool = True,
) -> Scorer:
    """A scorer within the memory of the settings, or the least that a process has to spare.

    Args:
        model: the supernet's file or name, for error messages.
        data: calibration images come from its training part.
        scored: the images to score on.
        executor: who computes, by default all processes of the world. Another one plans by the memory of its workers.
        computes: whether anything will be; a plan needs no pixels.

    Raises:
        InputError: supernet, data and settings do not fit together.
    """
    if supernet.num_classes != data.num_classes:
        raise InputError(f"{model}: has {supernet.num_classes} classes, but {data.name} has {data.num_classes}")
    at_once = SCORED_AT_ONCE_ON_GPU if executor is None and world.device.type != "cpu" else SCORED_AT_ONCE
    inputs = evaluation_inputs(config, supernet.space, data, scored, world, at_once=at_once, decode=computes)
    memory_mb = None
    if executor is None:
        limit_mb = config.evaluation.memory_mb or min(gathered(memory_limit_mb(world.device), world))
        executor, memory_mb = executor_for(world), limit_mb
    return Scorer(supernet, inputs, executor, memory_mb=memory_mb)


def scoring_facts(
    config: Config, save: str, model: Path, supernet: Supernet, data: ImageData, scored: Images
) -> dict[str, Any]:
    """What scores depend on, beside the archs: the supernet, the images, and what each arch is prepared with.

    The supernet's file is named within its run, so that a run may be moved.
    """
    calibrated, batch = min(config.evaluation.calibration_images, len(data.train)), config.evaluation.calibration_batch
    return {
        "checkpoint": within_run(save, model),
        "checkpoint_sha256": sha256(model),
        **supernet.split.values(),
        "data": data.name,
        "images": len(scored),
        "data_fingerprint": scored.fingerprint,
        "guessing": guessing(scored.labels),
        "calibration_images": calibrated,
        "calibration_batch": batch,
        # Earlier versions gave an incomplete last batch the weight of a whole one.
        **({"calibration_mean": "by images"} if calibrated > batch and calibrated % batch else {}),
        "calibration_fingerprint": data.train.fingerprint,
        "precision": config.run.precision,
        "space": supernet.space.values(),
        "resolution": supernet.space.resolution,
        "num_classes": supernet.num_classes,
        "seed": config.run.seed,
    }
