"""Who scores: a `Scorer`, built from settings, a supernet and images; and untrained networks, which need neither."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from fewshot_nas.cli.errors import InputError
from fewshot_nas.computing import numerics
from fewshot_nas.config import Config
from fewshot_nas.data.images import Images, calibration_subset
from fewshot_nas.data.sources import ImageData
from fewshot_nas.data.transforms import normalize
from fewshot_nas.distributed import World, gathered, joined
from fewshot_nas.evaluation.executors import Executor, executor_for
from fewshot_nas.evaluation.inputs import guessing
from fewshot_nas.evaluation.scorer import Scorer, memory_limit_mb
from fewshot_nas.models.run import ConvNorm, batch_norm, run
from fewshot_nas.models.supernet import Supernet, initialise
from fewshot_nas.ranking.features import FEWEST_SCORED, sample
from fewshot_nas.records.files import locked, sha256
from fewshot_nas.records.journal import Journal
from fewshot_nas.results.run import within_run
from fewshot_nas.running.images import SCORED_AT_ONCE, SCORED_AT_ONCE_ON_GPU, evaluation_inputs, open_images, pixels
from fewshot_nas.space.block import Op
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.split import one_shot


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
    return {
        "checkpoint": within_run(save, model),
        "checkpoint_sha256": sha256(model),
        **supernet.split.values(),
        "data": data.name,
        "images": len(scored),
        "data_fingerprint": scored.fingerprint,
        "guessing": guessing(scored.labels),
        "calibration_images": min(config.evaluation.calibration_images, len(data.train)),
        "calibration_batch": config.evaluation.calibration_batch,
        "calibration_fingerprint": data.train.fingerprint,
        "precision": config.run.precision,
        "space": supernet.space.values(),
        "resolution": supernet.space.resolution,
        "num_classes": supernet.num_classes,
        "seed": config.run.seed,
    }


# ---- untrained networks, for `rank`: scored once for a sample of the pool, and kept in the run's directory -----------


def score_untrained(path: Path, config: Config, space: Space, pool: Mapping[str, Arch], count: int) -> dict[str, float]:
    """NASWOT by code of a sample of a pool, which may have more than it. What the file has is not computed again.

    Args:
        path: a journal.

    Raises:
        InputError: the pool has fewer archs, or the file is of other images or of another space.
    """
    if not FEWEST_SCORED <= count <= len(pool):
        raise InputError(f"--untrained is {count}, expected {FEWEST_SCORED} to the {len(pool)} archs of the pool")
    data = open_images(config, space)
    facts = _facts(config, space, data)
    journal = Journal(path, f"{path}: was written with", facts, "delete it to score untrained networks anew")
    wanted = {space.encode(pool[arch_id]): pool[arch_id] for arch_id in sorted(sample(space, pool, count))}
    with locked(path.with_name(".lock"), wait=True), joined(None, config.run) as world:
        found = {record["code"]: record["naswot"] for record in journal.read()}
        missing = [code for code in wanted if code not in found]
        if missing:
            chosen = calibration_subset(data.train, IMAGES, seed=0)
            images = normalize(pixels(config, space, data, chosen), data.mean, data.std).to(world.device)
            supernet = untrained(space, config.run.seed).to(world.device)
            note = journal.writing([numerics(world.device)])
            for code in tqdm(missing, unit="untrained network", disable=None):
                found[code] = naswot(supernet, wanted[code], images)
                note({"code": code, "naswot": found[code]})
    return found


def _facts(config: Config, space: Space, data: ImageData) -> dict[str, Any]:
    """What the scores depend on, beside the archs."""
    return {
        "space": space.values(),
        "resolution": space.resolution,
        "data": data.name,
        "images": min(IMAGES, len(data.train)),
        "fingerprint": data.train.fingerprint,
        "seed": config.run.seed,
    }


# What untrained networks tell is how unlike the images of a batch switch a subnet's units on (NASWOT). A network that
# tells images apart before it is trained tends to do so better after it (arXiv:2006.04647). All subnets are slices of
# one supernet with fresh weights, so they differ by their shapes more than by their draws.

IMAGES = 64  # of the batch


def untrained(space: Space, seed: int) -> Supernet:
    """A supernet with fresh weights. Unlike at the start of a training, no block begins as its shortcut."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        supernet = Supernet(one_shot(space), num_classes=1)
        initialise(supernet, as_shortcuts=False)
    return supernet


@torch.no_grad()
def naswot(supernet: Supernet, arch: Arch, images: Tensor) -> float:
    """The log-determinant of the matrix that counts, for each two images, the units that both or none switch on.

    One is added to its diagonal, so that images which a small network cannot tell apart do not make it singular.
    Of the units, those count whose convolution, norm or sum ends in relu or SiLU.

    Args:
        images: [B, C, H, W], normalised.
    """
    alike = torch.eye(len(images), dtype=torch.float64)
    plain = batch_norm()

    def counting(op: Op, unit: ConvNorm, x: Tensor, plus: Tensor | None = None) -> Tensor:
        y = plain(op, unit, x, plus)
        if op.act != "none":  # both activations are positive where what they are given is
            signs = (y > 0).flatten(1).float().mul_(2).sub_(1)
            alike.add_((signs @ signs.T + signs.shape[1]) / 2)
        return y

    x = images
    for block, _, main, shortcut in supernet.tensors(arch).blocks:
        x = run(block, main, shortcut, x, counting)
    return float(torch.linalg.slogdet(alike)[1])
