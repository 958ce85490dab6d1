"""Fills README.md, docs/study.md and docs/study_beds.md with their tables, from what is committed beside the studies.

python -m studies.page               renews all tables of the pages
python -m studies.page --only NAME   renews one
python -m studies.page --figures     draws the pictures, too
python -m studies.page --collect     gathers accuracies and scores from results/ first

What is not in results/ stays as it was. A table stands between `<!-- NAME -->` and `<!-- end -->`.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.ranking.correlation import agreement
from fewshot_nas.ranking.interval import Row
from fewshot_nas.records.files import read_json, write_json, write_text
from studies.arms import table as arms_table
from studies.budget import run as budget_run
from studies.cifar10_truths import table as public_table
from studies.common import ROOT, STUDIES
from studies.mnist import table as mnist_table
from studies.pairs import table as pairs_table
from studies.ranker import run as ranker_run
from studies.ranker import untrained as untrained_table
from studies.seeds import tau_gain

PAGES = (ROOT / "README.md", ROOT / "docs" / "study.md", ROOT / "docs" / "study_beds.md")
SCORES = STUDIES / "scores" / "results.json"

# By the name of the nets in scores.json: what they are, and their test bed.
NETS = {
    "default": ("60,000 images", "fashion_pairs"),
    "oneshot": ("180,000 images", "fashion_pairs"),
    "mnist": ("Fashion-MNIST", "fashion_mnist"),
    "digits": ("digits", "digits"),
}
MEASURES = {
    "prob": "mean probability",
    "top1": "top-1",
    "log": "likelihood",
    "log_t": "likelihood, one temperature an arch",
    "lda2048_top1": "own classifier, 2,048 images, top-1",
    "lda2048": "the same, likelihood",
    "lda8192_top1": "own classifier, 8,192 images, top-1",
    "lda8192": "the same, likelihood",
    "lda4096_10": "own classifier, 4,096 images, 10 %, likelihood",
    "ridge8192_top1": "least squares, 8,192 images, top-1",
    "ridge8192": "the same, explained variance",
    "logistic_top1": "logistic regression, 8,192 images, top-1",
    "logistic": "the same, likelihood",
}

NOT_SHOWN = ("oneshot_s1", "few_s1")  # second seeds of the ranker's tables

Lines = Iterator[str]
Scores = Mapping[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Collect and draw if asked; fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", action="store_true", help="gather from results/ first")
    parser.add_argument("--figures", action="store_true", help="draw the pictures")
    parser.add_argument("--only", choices=TABLES, help="renew one table")
    options = parser.parse_args(argv)
    if options.collect:
        collect(ROOT / "results")
    tables = {name: list(TABLES[name]()) for name in ([options.only] if options.only else TABLES)}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        write_text(page, filled(text, {name: lines for name, lines in tables.items() if f"<!-- {name} -->" in text}))
    if options.figures:
        docs = PAGES[-1].parent
        public_table.draw(read_json(public_table.RESULTS), docs / "study_cost.svg")
        ranker_run.draw(ranker_run.rows_of("fashion_pairs"), docs)
        budget_run.draw(read_json(budget_run.BUDGET)["arms"], docs / "ranker_budget.svg")
        draw_smoothing(docs / "ranker_smoothing.svg")
    return 0


def collect(results: Path) -> None:
    """Renew the files of fashion_pairs by what lies in the results."""
    pairs_table.collect(results)
    arms_table.collect(results / "pairs_arms")
    found = dict(read_json(SCORES)) if SCORES.exists() else {}
    found |= {path.stem: read_json(path) for path in (results / "pairs_scores").glob("*_s[0-9].json")}
    write_json(SCORES, dict(sorted(found.items())))


def filled(page: str, tables: Mapping[str, Sequence[str]]) -> str:
    """The page with these tables in their places.

    Raises:
        InputError: the page has no place for one.
    """
    for name, lines in tables.items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not place.search(page):
            raise InputError(f"the page has no <!-- {name} --> with an <!-- end --> after it")
        page = place.sub(lambda found, lines=lines: found[1] + "\n".join([*lines, found[2]]), page)
    return page


def part(lines: Callable[[], Lines], number: int) -> Callable[[], Lines]:
    """One of several tables with an empty line between them; the last one if the number is -1."""

    def table() -> Lines:
        yield from "\n".join(lines()).strip().split("\n\n")[number].splitlines()

    return table


def pairs() -> Lines:
    """Forms of the test bed, its truths, what ranks without training."""
    yield from pairs_table.lines(read_json(pairs_table.STUDY))


def mnist() -> Lines:
    """The study on Fashion-MNIST: truths, rankings, gains, widths."""
    yield from mnist_table.lines(read_json(mnist_table.STUDY))


def ranker(bed: str) -> Lines:
    """The ranker on a test bed; of composite proxies and widths the best is shown."""
    rows = ranker_run.rows_of(bed)
    shown = shown_rows(next(iter(rows.values())))
    chosen = {name: [row for row in each if row.title in shown] for name, each in rows.items() if name not in NOT_SHOWN}
    yield from ranker_run.lines({bed: chosen})


def shown_rows(rows: Sequence[Row]) -> set[str]:
    """The titles of those that the page shows."""
    several = [[row for row in rows if mark in row.name] for mark in (" + ", "hindsight")]
    left_out = {row.title for kind in several for row in kind if row is not max(kind, key=lambda row: row.tau.value)}
    return {row.title for row in rows if row.title not in left_out and row.truths not in (60, 150)}


def scores() -> Lines:
    """Tau of each score of the same nets, and its gain over mean probability."""
    found = by_net(read_json(SCORES))
    shown = {name: f"{title}, seeds: {len(found[name])}" for name, (title, _) in NETS.items() if name in found}
    yield f"| score | {' | '.join(shown.values())} |"
    yield f"|{'---|' * (1 + len(shown))}"
    for measure, title in MEASURES.items():
        yield f"| {title} | {' | '.join(_gain(found[name], measure, NETS[name][1]) for name in shown)} |"


def by_net(content: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Scores of each net, one for each seed."""
    found: dict[str, list[Any]] = {}
    for key, each in content.items():
        found.setdefault(key.rpartition("_s")[0], []).append(each)
    return found


def _gain(nets: Sequence[Mapping[str, Scores]], measure: str, bed: str) -> str:
    if not all(measure in each for each in nets):
        return ""
    truth = ranker_run.truth_of(bed)
    ours, theirs = ([each[name] for each in nets] for name in (measure, "prob"))
    tau = fmean(agreement(each, truth, resamples=0).kendall.value for each in ours)
    gain = tau_gain(ours, theirs, truth)
    return f"{tau:.2f}" if measure == "prob" else f"{tau:.2f} ({gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}])"


def budget() -> Lines:
    """What a ranking costs, and what can be saved."""
    arms = read_json(budget_run.BUDGET)["arms"]
    yield from (line for line in budget_run.lines(arms) if "control variate" not in line and "by pilots" not in line)


def public() -> Lines:
    """What supernets are worth on public tables of networks that others trained."""
    yield from public_table.lines(read_json(public_table.RESULTS))


def headline() -> Lines:
    """One supernet on public tables, for the first page."""
    yield from public_table.headline(read_json(public_table.RESULTS))


def untrained() -> Lines:
    """What untrained networks add on the older beds."""
    yield from untrained_table.lines()


def public_arms() -> Lines:
    """The other supernets of the public tables."""
    yield from public_table.arm_lines(read_json(public_table.RESULTS))


def public_pairs() -> Lines:
    """Arms against each other, paired."""
    yield from public_table.pair_lines(read_json(public_table.RESULTS))


def public_slopes() -> Lines:
    """What truths and supernets make of each width."""
    yield from public_table.slope_lines(read_json(public_table.RESULTS))


TABLES: Mapping[str, Callable[[], Lines]] = {
    "truths": part(pairs, 1),
    "scores": scores,
    "arms": part(arms_table.committed, 0),
    "splits": part(arms_table.committed, 2),
    "ranker-pairs": part(partial(ranker, "fashion_pairs"), -1),
    "ranker-mnist": part(partial(ranker, "fashion_mnist"), -1),
    "ranker-digits": part(partial(ranker, "digits"), -1),
    "budget": budget,
    "public-resnets": part(public, 0),
    "public-mobilenets": part(public, 1),
    "public-macro": part(public, 2),
    "headline": headline,
    "untrained": untrained,
    "public-arms": public_arms,
    "public-pairs": public_pairs,
    "public-slopes": public_slopes,
    "mnist-truths": part(mnist, 0),
    "mnist-rankings": part(mnist, 1),
    "mnist-gains": part(mnist, 2),
}


def draw_smoothing(path: Path) -> None:
    """The truth of each arch against its raw score and against the combined one."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    name, known, truth = ranker_run.ranked("fashion_pairs")
    figure, axes = plt.subplots(1, 2, figsize=(8, 4), sharey=True)
    for plot, values, title in zip(
        axes, (known.raw, known.combined.value), ("raw", "smoothed and combined"), strict=True
    ):
        plot.scatter(values, truth, s=8, alpha=0.6)
        plot.set(xlabel=f"score, {title} (log odds)")
    axes[0].set(ylabel="accuracy alone, %", title=name)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(run(main))
