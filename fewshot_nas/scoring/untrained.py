"""Scores of untrained networks for `rank`: computed once for a sample of the pool, and kept in the run's directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fewshot_nas.cli.errors import InputError
from fewshot_nas.computing import numerics
from fewshot_nas.config import Config
from fewshot_nas.data.images import calibration_subset
from fewshot_nas.data.sources import ImageData
from fewshot_nas.data.transforms import normalize
from fewshot_nas.distributed import joined
from fewshot_nas.evaluation.untrained import IMAGES, naswot, untrained
from fewshot_nas.ranking.combination import FEWEST_SCORED
from fewshot_nas.ranking.suggestion import sample
from fewshot_nas.records.files import locked
from fewshot_nas.records.journal import Journal
from fewshot_nas.running.images import open_images, pixels
from fewshot_nas.space.space import Arch, Space


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
