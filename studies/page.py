"""Fills README.md and the pages docs/study*.md with their tables, from what is committed beside the studies.

python -m studies.page               renews all tables of the pages
python -m studies.page --only NAME   renews one
python -m studies.page --figures     draws the pictures, too
python -m studies.page --collect     gathers accuracies and scores from results/ first

What is not in results/ stays as it was. A table stands between `<!-- NAME -->` and `<!-- end -->`.
"""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.ranking.correlation import correlate
from fewshot_nas.records.files import read_json, write_json, write_text
from studies.arms import table as arms_table
from studies.budget import run as budget_run
from studies.cifar10_truths import arm_tables, figure, kinds, older_beds
from studies.cifar10_truths import table as public_table
from studies.common import ROOT, STUDIES
from studies.mnist import table as mnist_table
from studies.pairs import table as pairs_table
from studies.ranker import run as ranker_run
from studies.ranker import untrained as untrained_table
from studies.seeds import tau_gain

PAGES = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("study", "study_arms", "study_beds")))
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
    "lda8192": "own classifier, likelihood",
}

# What the page shows of longer tables, which the studies' own commands print whole.
ARMS_SHOWN = ("arm", "seeds", "tau", "gain in tau")
TRUTHS_SHOWN = ("truth", "ground truth", "archs", "seeds", "tau of two seeds", "ceiling", "ceiling with one seed")
BUDGET_SHOWN = (
    *("full", "250 images, random", "250 images, ridge on pilots", "2,500 images"),
    *("calibration 128", "bf16", "full, combined", "1,000 archs, 1,000 images"),
)
MNIST_SHOWN = ("what ranks", "phase", "seeds", "tau by prob.", "Pearson")
MNIST_ROWS = (
    *("params", "one-shot, 10 epochs", "one-shot 4, then 6 phases of 1", "one-shot 4, the largest teaches"),
    *("one-shot 4, ends of the space", "one-shot 4, both of these (BigNAS)", "one-shot 4, fair sampling"),
)
PHASES_SHOWN = ("", "1", "7_from_6")
GAINS_SHOWN = (
    *("oneshot over params", "few over oneshot", "bignas over one-shot 4", "fair over one-shot 4"),
    "drawn ends over fixed ends",
)

# The ranker's table: the supernet of each bed, the counts and the rows.
COUNTS = ("depth", "params", "macs")
RANKED = {"fashion_pairs": "pairs_oneshot_s0", "fashion_mnist": "oneshot_s0", "digits": "oneshot"}
RANKER_SHOWN = (
    *("raw", "smoothed", "combined", "predictor, 10 truths", "predictor without scores, 10 truths"),
    *("predictor, 100 truths", "predictor without scores, 100 truths"),
)

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
        figure.draw(read_json(public_table.RESULTS), docs / "study_cost.svg")
        ranker_run.draw(ranker_run.rows_of("fashion_pairs"), docs)
        budget_run.draw(read_json(budget_run.BUDGET)["arms"], docs / "ranker_budget.svg")
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


def some(
    lines: Callable[[], Lines], columns: Collection[str] = (), shown: Callable[[Sequence[str]], bool] | None = None
) -> Callable[[], Lines]:
    """Of a table the columns with these heads, or all, and the rows whose cells are shown."""

    def table() -> Lines:
        heads, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines())
        kept = [number for number, head in enumerate(heads) if not columns or head in columns]
        head, *others = (f"| {' | '.join(row[number] for number in kept)} |" for row in (heads, *filter(shown, rows)))
        yield from (head, f"|{'---|' * len(kept)}", *others)

    return table


def named(names: Collection[str]) -> Callable[[Sequence[str]], bool]:
    """Whether a row begins with one of these names."""
    return lambda row: row[0] in names


def pairs() -> Lines:
    """Forms of the test bed, its truths, what ranks without training."""
    yield from pairs_table.lines(read_json(pairs_table.STUDY))


def mnist() -> Lines:
    """The study on Fashion-MNIST: truths, rankings, gains, widths."""
    yield from mnist_table.lines(read_json(mnist_table.STUDY))


def ranker() -> Lines:
    """The ranker on the three test beds, beside the best single count of each."""
    tables = {bed: {row.title: row for row in ranker_run.rows_of(bed)[name]} for bed, name in RANKED.items()}
    heads = (f"{bed}, {len(ranker_run.truth_of(bed))} archs" for bed in tables)
    yield f"| ranking | {' | '.join(heads)} |"
    yield f"|{'---|' * (1 + len(tables))}"
    counts = (max((rows[name] for name in COUNTS), key=lambda row: row.tau.value) for rows in tables.values())
    yield f"| the best count | {' | '.join(f'{row.tau.value:.2f}, {row.name}' for row in counts)} |"
    for title in RANKER_SHOWN:
        cells = (ranker_run.cell(rows[title]) if title in rows else "" for rows in tables.values())
        yield f"| {title} | {' | '.join(cells)} |"


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
    tau = fmean(correlate(each, truth, resamples=0).kendall.value for each in ours)
    gain = tau_gain(ours, theirs, truth)
    return f"{tau:.2f}" if measure == "prob" else f"{tau:.2f} ({gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}])"


def _mnist_shown(row: Sequence[str]) -> bool:
    return row[0] in MNIST_ROWS and row[1] in PHASES_SHOWN


def budget() -> Lines:
    """What a ranking costs, and what can be saved."""
    arms = read_json(budget_run.BUDGET)["arms"]
    yield from budget_run.lines(arms)


def public() -> Lines:
    """What supernets are worth on public tables of networks that others trained."""
    yield from public_table.lines(read_json(public_table.RESULTS))


def headline() -> Lines:
    """One supernet on public tables, for the first page."""
    yield from public_table.headline(read_json(public_table.RESULTS))


def untrained() -> Lines:
    """What untrained networks add on the older beds."""
    yield from untrained_table.lines()


def untrained_agreement() -> Lines:
    """How far supernets of the older beds agree with untrained networks."""
    yield from untrained_table.agreement_lines()


def older_recipes() -> Lines:
    """Two sides and fair draws on the older beds."""
    yield from older_beds.lines()


def public_ranker() -> Lines:
    """What scores give to the predictor with some truths."""
    yield from arm_tables.ranker_lines(read_json(public_table.RESULTS))


def public_recipes() -> Lines:
    """Supernets that were scored as the judged ones, against the default of their seed."""
    yield from arm_tables.recipe_lines(read_json(public_table.RESULTS))


def public_seeds() -> Lines:
    """How far seeds of a recipe are apart."""
    yield from arm_tables.seed_lines(read_json(public_table.RESULTS))


def public_agreement() -> Lines:
    """How far supernets of the public tables do."""
    yield from arm_tables.agreement_lines(read_json(public_table.RESULTS))


def public_arms() -> Lines:
    """The other supernets of the public tables."""
    yield from arm_tables.arm_lines(read_json(public_table.RESULTS))


def public_pairs() -> Lines:
    """Arms against each other, paired."""
    yield from arm_tables.pair_lines(read_json(public_table.RESULTS))


def kinds_digits() -> Lines:
    """Kinds of score between likelihood and mean probability, on the digits."""
    yield from kinds.of_digits()


def public_surfaces() -> Lines:
    """What a linear smoother gives."""
    yield from arm_tables.surface_lines(read_json(public_table.RESULTS))


def public_images() -> Lines:
    """What more images to rank on give."""
    yield from arm_tables.image_lines(read_json(public_table.RESULTS))


def public_slopes() -> Lines:
    """What truths and supernets make of each width."""
    yield from arm_tables.slope_lines(read_json(public_table.RESULTS))


TABLES: Mapping[str, Callable[[], Lines]] = {
    "truths": some(part(pairs, 1), TRUTHS_SHOWN),
    "scores": scores,
    "arms": some(part(arms_table.committed, 0), ARMS_SHOWN),
    "ranker": ranker,
    "budget": some(budget, shown=named(BUDGET_SHOWN)),
    "public-resnets": part(public, 0),
    "public-mobilenets": part(public, 1),
    "public-macro": part(public, 2),
    "headline": headline,
    "untrained": untrained,
    "untrained-agreement": untrained_agreement,
    "public-agreement": public_agreement,
    "public-seeds": public_seeds,
    "public-ranker": public_ranker,
    "public-recipes": public_recipes,
    "older-recipes": older_recipes,
    "kinds-digits": kinds_digits,
    "public-arms": public_arms,
    "public-pairs": public_pairs,
    "public-surfaces": public_surfaces,
    "public-images": public_images,
    "public-slopes": public_slopes,
    "mnist-truths": some(part(mnist, 0), TRUTHS_SHOWN),
    "mnist-rankings": some(part(mnist, 1), MNIST_SHOWN, _mnist_shown),
    "mnist-gains": some(part(mnist, 2), shown=named(GAINS_SHOWN)),
}


if __name__ == "__main__":
    sys.exit(run(main))
