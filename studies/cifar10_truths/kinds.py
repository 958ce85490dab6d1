"""Kinds of score between likelihood and mean probability; plan.md says why.

    python -m studies.cifar10_truths.kinds --root DIR ARM...     train what is missing, and score
    python -m studies.cifar10_truths.kinds --truths DIR          the table, from scores/kinds_*

An arm is TABLE/NAME/SEED as of `run`, or digits/default/SEED. `root` is the mean root of the label's probability
(after arXiv:1805.07836), `calibrated` the likelihood at the temperature that suits a network's images best
(arXiv:1706.04599).
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from fewshot_nas.config import Config, load_config
from fewshot_nas.distributed import joined
from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.models.sides import sides
from fewshot_nas.ranking.baselines import plain_tau
from fewshot_nas.ranking.correlation import Floats, correlations
from fewshot_nas.ranking.features import column, standardised
from fewshot_nas.ranking.ranker import MACS_WEIGHT, log_odds, partly_smoothed, smooth
from fewshot_nas.records.files import read_json
from fewshot_nas.running.images import images_for
from fewshot_nas.scoring.scorer import scorer_for
from fewshot_nas.space.space import Arch
from studies.cifar10_truths.bed import FILES, Bed
from studies.cifar10_truths.judging import groups_of, paired
from studies.cifar10_truths.older_beds import BEDS, SEEDS, codes_of, config_of
from studies.cifar10_truths.older_beds import trained as trained_older
from studies.cifar10_truths.run import ALL_IMAGES, CONFIG, FEW, SCORES, at_hand, sample, trained
from studies.cifar10_truths.table import PARTS, signed

KINDS = MappingProxyType(
    {
        "top1": "top-1",
        "prob": "mean probability",
        "likelihood": "likelihood",
        "root": "mean root of the probability",
        "calibrated": "likelihood at the best temperature",
    }
)
TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)


def found_in(logits: Tensor, labels: Tensor) -> Tensor:
    """Sums over images [B, classes] of top-1, probability and root, then of the log probability at each temperature."""
    exact, rows = logits.double(), torch.arange(len(labels))
    logs = torch.stack([(exact / each).log_softmax(-1)[rows, labels] for each in TEMPERATURES]).sum(-1)
    probability = exact.softmax(-1)[rows, labels]
    first = torch.stack([(exact.argmax(-1) == labels).double(), probability, probability.sqrt()]).sum(-1)
    return torch.cat([first, logs])


def values(sums: Tensor, images: int) -> list[float]:
    """The scores in percent by `KINDS`. The best temperature lies on a parabola through the best three."""
    top1, prob, root, *logs = (sums / images).tolist()
    best = min(max(int(np.argmax(logs)), 1), len(logs) - 2)
    fitted = np.polyfit((-1, 0, 1), logs[best - 1 : best + 2], 2)
    peak = min(max(-fitted[1] / (2 * fitted[0]), -1), 1) if fitted[0] < 0 else 0
    likelihoods = np.exp([logs[TEMPERATURES.index(1.0)], max(*logs, float(np.polyval(fitted, peak)))])
    return [round(100 * float(each), 4) for each in (top1, prob, likelihoods[0], root, likelihoods[1])]


def scores_of(supernet: Path, archs: Sequence[Arch], config: Config) -> list[list[float]]:
    """The scores of each arch."""
    with joined("cpu", config.run) as world:
        network = load_supernet(supernet)
        data = images_for(config, str(supernet), network.space, network.num_classes, network.trained_on)
        scorer = scorer_for(config, supernet, network, data, data.valid, world)
        plan = scorer.plan(archs)
        inputs, _ = scorer.within_memory(plan)
        units = []
        both = sides(network)
        for unit in plan.units:
            sums = torch.zeros(len(unit.members), 3 + len(TEMPERATURES)).double()
            for side in both:
                walk = Walk(side, unit, inputs)
                walk.calibrate()
                with torch.no_grad():
                    for images, labels in inputs.scoring_batches():
                        for number, logits in walk.outputs(images):
                            sums[number] += found_in(logits, labels) / len(both)
            units.append([values(each, len(inputs.images)) for each in sums])
            print(f"{supernet}: {len(units)} of {len(plan.units)} units", flush=True)
        return list(plan.by_arch(units))


def write(arm: str, root: str, precision: str) -> None:
    """Train an arm's supernet if it is not there, and write its scores by key."""
    table, name, seed = arm.split("/")
    common = [f"data.root={root}", f"data.cache={root}/cache", f"run.precision={precision}"]
    if table == "digits":
        supernet, config = trained_older(table, name, int(seed)), load_config(config_of(table))
        codes = codes_of(table)
    else:
        supernet = trained(table, name, int(seed), common)
        config = load_config(CONFIG, [f"space.preset={table}_quarter", *common, f"data.valid_images={ALL_IMAGES}"])
        codes = {key: key for key in sample(at_hand(table), FEW)}
    space = load_supernet(supernet).space
    found = scores_of(supernet, [space.decode(code) for code in codes.values()], config)
    lines = [json.dumps([key, each]) for key, each in zip(codes, found, strict=True)]
    path = SCORES / f"kinds_{arm.replace('/', '_')}.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))


def read(path: Path) -> dict[str, dict[str, float]]:
    """Each kind's scores by key."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {kind: {key: each[number] for key, each in rows} for number, kind in enumerate(KINDS)}


def files(table: str) -> list[Path]:
    return sorted(SCORES.glob(f"kinds_{table}_*.jsonl"))


def of_table(table: str, directory: Path) -> Iterator[str]:
    """By each kind, smoothed and with multiply-adds as `rank` ranks, and with NASWOT: tau of all networks of the half,
    and the gain over likelihood, in Markdown."""
    bed = Bed(table, directory)
    row = {key: number for number, key in enumerate(bed.keys)}
    for path in files(table):
        rankings: dict[str, dict[str, Floats]] = {}
        for kind, scores in read(path).items():
            raw = np.full(len(bed.keys), np.nan)
            for key, value in scores.items():
                raw[row[key]] = value
            raw = log_odds(raw)
            score = standardised(partly_smoothed(raw, smooth(bed.described, raw)))
            with_macs = score + MACS_WEIGHT * standardised(bed.log_macs)
            rankings[kind] = {"multiply-adds": with_macs, "NASWOT": standardised(score) + bed.naswot}
        arm = path.stem.removeprefix(f"kinds_{table}_")
        groups = groups_of(bed.truth.counts["macs"]).values()
        for kind, (beside, ranking) in ((kind, pair) for kind, each in rankings.items() for pair in each.items()):
            whole, equal = (plain_tau(bed.of_truth(ranking), bed.truth.accuracy, each) for each in groups)
            gain = paired(bed, ranking, rankings["likelihood"][beside])
            gains = [signed(gain[part]) for part in PARTS]
            yield f"| {table} | {arm} | {KINDS[kind]}, {beside} | {whole:.3f} | {equal:.3f} | {' | '.join(gains)} |"


def of_digits() -> Iterator[str]:
    """Tau of the 30 digits networks by each kind, of each seed and the mean, in Markdown."""
    truth = {arch_id: entry["acc"] for arch_id, entry in read_json(BEDS["digits"].truth).items()}
    found = [*map(read, files("digits"))]
    yield f"| digits, 30 archs, score | {' | '.join(f'seed {seed}' for seed in SEEDS)} | mean |"
    yield f"|---|{'---|' * (len(SEEDS) + 1)}"
    for kind, name in KINDS.items():
        each = [correlations(column(truth, scores[kind]), column(truth, truth))[0] for scores in found]
        yield f"| {name} | {' | '.join(f'{tau:.2f}' for tau in each)} | {np.mean(each):.2f} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Train and score arms, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="directory of CIFAR-10")
    parser.add_argument("--precision", default="bf16", help="fp32 where the processor has no bf16 (default: bf16)")
    parser.add_argument("--truths", type=Path, help="directory of the public tables")
    parser.add_argument("arms", nargs="*", metavar="TABLE/default/SEED")
    options = parser.parse_args(argv)
    for arm in options.arms:
        write(arm, options.root, options.precision)
    if options.truths:
        print("\n".join([*of_digits(), *(line for table in FILES for line in of_table(table, options.truths))]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
