"""From settings, a supernet and images to the `Scorer` that commands and notebooks use."""

from pathlib import Path

from fewshot_nas.config import Config
from fewshot_nas.data.images import Images
from fewshot_nas.data.sources import ImageData
from fewshot_nas.distributed import World
from fewshot_nas.errors import InputError
from fewshot_nas.evaluation.executors import Executor, executor_for
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.runs import evaluation_inputs


def scorer_for(
    config: Config,
    model: Path | str,
    supernet: Supernet,
    data: ImageData,
    scored: Images,
    world: World,
    executor: Executor | None = None,
) -> Scorer:
    """A scorer within the memory of the settings.

    Args:
        model: the supernet's file or name, for error messages.
        data: calibration images come from its training part.
        scored: the images to score on.
        executor: who computes; by default all processes of the world.

    Raises:
        InputError: supernet, data and settings do not fit together.
    """
    if supernet.num_classes != data.num_classes:
        raise InputError(f"{model}: has {supernet.num_classes} classes, but {data.name} has {data.num_classes}")
    inputs = evaluation_inputs(config, supernet.space, data, scored, world)
    return Scorer(supernet, inputs, executor or executor_for(world), memory_mb=config.evaluation.memory_mb)
