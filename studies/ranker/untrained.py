"""What untrained networks add to a supernet's scores on the older test beds; plan.md says which and why.

    python -m studies.ranker.untrained                          prints the table
    python -m studies.ranker.untrained --score BED [--root DIR] first scores the archs of a bed that have none yet

`untrained.csv` keeps the scores, a line for each arch of a bed: the archs with a truth, and a sample of the pool.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from fewshot_nas.cli.main import run
from fewshot_nas.config import load_config
from fewshot_nas.data.images import calibration_subset
from fewshot_nas.data.transforms import normalize
from fewshot_nas.ranking.baselines import everything, interval, plain_tau, resamples, taus
from fewshot_nas.ranking.correlation import correlations
from fewshot_nas.ranking.features import column, features, sample, weights
from fewshot_nas.ranking.interval import SIGNED, Interval
from fewshot_nas.ranking.ranker import ranker
from fewshot_nas.records.files import read_json
from fewshot_nas.running.images import open_images, pixels
from fewshot_nas.scoring.scorer import IMAGES, naswot, untrained
from fewshot_nas.space.pool import read_pool
from fewshot_nas.space.space import Arch, Space
from studies.common import FILES, ROOT, STUDIES
from studies.ranker.run import CLASSES, HERE, TRUTHS, scores_of, truth_of

SCORES = HERE / "untrained.csv"
SAMPLE = 1_000


def main(argv: Sequence[str] | None = None) -> int:
    """Score if asked, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--score", choices=TRUTHS, metavar="BED", help=", ".join(TRUTHS))
    parser.add_argument("--root", default="data", help="directory of the images (default: data)")
    options = parser.parse_args(argv)
    if options.score:
        score(options.score, options.root)
    print("\n".join([*lines(), "", *agreement_lines()]))
    return 0


def score(bed: str, root: str) -> None:
    """Append the scores of a bed's archs that have none yet."""
    config = load_config(ROOT / "configs" / f"{bed}.yml", [f"data.root={root}", f"data.cache={root}/cache"])
    space = config.space.build()
    pool = pool_of(space)
    done = read_untrained_of(bed)
    wanted = sorted({*sample(space, pool, SAMPLE), *truth_of(bed)} - done.keys(), key=lambda each: pool[each])
    data = open_images(config, space)
    images = normalize(pixels(config, space, data, calibration_subset(data.train, IMAGES, seed=0)), data.mean, data.std)
    supernet = untrained(space, seed=0)
    with SCORES.open("a", newline="") as file:
        for arch_id in wanted:
            csv.writer(file).writerow([bed, arch_id, f"{naswot(supernet, pool[arch_id], images):.4f}"])


def pool_of(space: Space) -> dict[str, Arch]:
    """The archs of the whole pool by id."""
    return {arch_id: arch for part in read_pool(FILES / "json8", space) for arch_id, arch in part.items()}


def read_untrained_of(bed: str) -> dict[str, float]:
    """NASWOT by id of a bed's archs."""
    with SCORES.open(newline="") as file:
        return {arch_id: float(value) for of, arch_id, value in csv.reader(file) if of == bed}


def gains(bed: str) -> Iterator[tuple[str, float, float, float, Interval]]:
    """By supernet: tau of untrained networks, of the combined scores without and with them, and the gain."""
    config, truth, told = load_config(ROOT / "configs" / f"{bed}.yml"), truth_of(bed), read_untrained_of(bed)
    space = config.space.build()
    pool = pool_of(space)
    for name, scores in scores_of(bed).items():
        known = {*truth, *scores, *told}
        archs = {arch_id: arch for arch_id, arch in pool.items() if arch_id in known}
        described, accuracy = features(space, archs.values(), num_classes=CLASSES[bed]), column(archs, truth)
        scored, rows = [column(archs, scores)], np.flatnonzero(~np.isnan(accuracy))
        without = ranker(described, weights(space), scored)
        both = ranker(described, weights(space), scored, untrained=column(archs, told))
        assert both.untrained is not None
        groups, drawn = everything(len(rows)), resamples(len(rows))
        one, other = both.combined.value[rows], without.combined.value[rows]
        single = [plain_tau(each, accuracy[rows], groups) for each in (both.untrained[rows], other, one)]
        gain = interval(taus(one, accuracy[rows], groups, drawn) - taus(other, accuracy[rows], groups, drawn))
        yield name, single[0], single[1], single[2], gain


def lines() -> Iterator[str]:
    """The table, Markdown."""
    yield "| test bed | supernet | untrained networks | combined | combined with untrained networks | gain |"
    yield "|---|---|---|---|---|---|"
    for bed in TRUTHS:
        if read_untrained_of(bed):
            for name, alone, without, both, gain in gains(bed):
                yield f"| {bed} | {name} | {alone:.2f} | {without:.2f} | {both:.2f} | {gain.text(SIGNED)} |"


def agreement_lines() -> Iterator[str]:
    """How well supernets rank beside how far they agree with untrained networks, and with counting, Markdown."""
    heads = (
        "test bed",
        "supernets",
        "agreement with NASWOT",
        "tau",
        "correlation of the two",
        "with multiply-adds instead",
    )
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|---|---|---|---|"
    for bed, nets in supernets().items():
        space, truth = load_config(ROOT / "configs" / f"{bed}.yml").space.build(), truth_of(bed)
        pool = pool_of(space)
        macs = {arch_id: float(space.cost(pool[arch_id], num_classes=CLASSES[bed]).macs) for arch_id in truth}
        columns = [column(truth, each) for each in (truth, read_untrained_of(bed), macs)]
        ranked, *agreed = np.array([[correlations(column(truth, each), to)[0] for each in nets] for to in columns])
        ends = [f"{min(each):.2f} to {max(each):.2f}" for each in (agreed[0], ranked)]
        related = [f"{np.corrcoef(each, ranked)[0, 1]:.2f}" for each in agreed]
        yield f"| {bed} | {len(nets)} | {' | '.join([*ends, *related])} |"


def supernets() -> dict[str, list[dict[str, float]]]:
    """Mean probabilities of archs, of each supernet of a bed that has committed ones of all archs with a truth."""
    pairs, mnist, scored = (read_json(STUDIES / name / "results.json") for name in ("arms", "mnist", "scores"))
    later = read_json(STUDIES / "cifar10_truths" / "older_beds.json")
    found = {
        "fashion_pairs": [each["prob"] for each in pairs.values()],
        "fashion_mnist": [phase["valid"]["prob"] for phases in mnist["scores"].values() for phase in phases.values()],
        "digits": [each["prob"] for name, each in scored.items() if name.startswith("digits")],
    }
    for bed, nets in later.items():
        found[bed] += [each["prob"] for each in nets.values()]
    return {bed: [each for each in nets if each.keys() >= truth_of(bed).keys()] for bed, nets in found.items()}


if __name__ == "__main__":
    sys.exit(run(main))
