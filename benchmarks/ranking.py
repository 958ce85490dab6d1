"""How long correlations and a merge take: `python benchmarks/ranking.py`."""

import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from machine import duration_s

from fewshot_nas.ranking.correlation import correlate
from fewshot_nas.results.merging import merge_parts, read_codes
from fewshot_nas.results.scores import Score, write_shards
from fewshot_nas.space.pool import PARTS, POOL_SIZE, read_pool
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import Arch

SPACE = SPACES["track1"]
POOL = Path(__file__).parents[1] / "json_file" / "json8"


def main() -> None:
    """Print a line per measurement; the first call is left out, for it imports scipy.stats."""
    compare(3)
    for n, repeats in ((30, 10), (100, 10), (1000, 3), (POOL_SIZE, 1)):
        report(f"correlation of {n} archs", partial(compare, n), repeats)
    with tempfile.TemporaryDirectory() as directory:
        scores = Path(directory)
        write_parts(scores, read_pool(POOL, SPACE))
        report(
            f"merge of {PARTS} parts, {POOL_SIZE} archs",
            lambda: merge_parts(scores, "top1", read_codes(POOL, SPACE), {}, SPACE),
            3,
        )


def report(name: str, call: Callable[[], object], repeats: int) -> None:
    """Print the shortest of a few runs, which the machine's other work disturbs least."""
    seconds = [duration_s(call) for _ in range(repeats)]
    print(f"{name:32} {1000 * min(seconds):10.1f} ms")


def compare(n: int) -> None:
    """Compare two related random rankings with as many ties as accuracies have."""
    rng = random.Random(n)
    truth = {f"arch{number}": round(rng.gauss(70, 2), 2) for number in range(n)}
    scores = {arch_id: round(acc + rng.gauss(0, 2), 2) for arch_id, acc in truth.items()}
    correlate(scores, truth)


def write_parts(directory: Path, parts: list[dict[str, Arch]]) -> None:
    """Write random scores of every part."""
    rng = random.Random(0)
    for number, part in enumerate(parts, start=1):
        write_shards(
            directory, number, [Score(i, SPACE.encode(arch), 60 * rng.random(), 90, 40, 30) for i, arch in part.items()]
        )


if __name__ == "__main__":
    main()
