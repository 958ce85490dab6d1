"""The ranker's tables and pictures in docs/study_beds.md, and the predictions for all archs of fashion_pairs.

python -m studies.ranker.run                          prints the tables
python -m studies.ranker.run --figures docs           also draws the pictures
python -m studies.ranker.run --collect NAME [NAME]    first gathers sampled scores and predictions of runs in results/

`plan.md` has the plan, as it was written before anything ran.
"""

import argparse
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fewshot_nas.cli.main import run
from fewshot_nas.ranking.comparison import best_of, compare, cross_validate
from fewshot_nas.ranking.correlation import Floats, proxies
from fewshot_nas.ranking.features import column, composites, features, suggest, weights, widths
from fewshot_nas.ranking.interval import PREDICTOR, WITHOUT_SCORES, Row
from fewshot_nas.ranking.predictor import PredictorInputs, predict
from fewshot_nas.ranking.ranker import log_odds, ranker
from fewshot_nas.records.files import read_json, write_json, write_text
from fewshot_nas.results.directories import PhaseDirectory, merged_path
from fewshot_nas.results.run import run_files
from fewshot_nas.results.scores import read_scores
from fewshot_nas.space.pool import part_paths, read_arch_file
from fewshot_nas.space.space import Arch, Space
from studies.common import FILES, ROOT, STUDIES, space_of

HERE, RUNS = STUDIES / "ranker", ROOT  # RUNS has results/
SCORES, PREDICTIONS = HERE / "fashion_pairs.json", HERE / "predictions.json"
STUDY = {bed: STUDIES / name / "results.json" for bed, name in (("fashion_pairs", "pairs"), ("fashion_mnist", "mnist"))}
COUNTS = (10, 20, 30, 60, 100, 150)
SUGGESTED = (10, 20, 30, 60)
CLASSES = {"fashion_pairs": 45, "fashion_mnist": 10, "digits": 10}
TRUTHS = {"fashion_pairs": "gt_arch200.json", "fashion_mnist": "gt_arch30.json", "digits": "gt_arch30.json"}


def main(argv: Sequence[str] | None = None) -> int:
    """Collect if asked, then print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", nargs="+", metavar="NAME", help="runs with scored samples; the first was ranked")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="where the pictures go")
    options = parser.parse_args(argv)
    if options.collect:
        collect(options.collect)
    found = {bed: rows_of(bed) for bed, truth in TRUTHS.items() if (FILES / bed / truth).exists()}
    print("\n".join(lines(found)))
    if options.figures:
        draw(found["fashion_pairs"], options.figures)
    return 0


def collect(names: Sequence[str]) -> None:
    """Copy scores and predictions into the committed files; what is missing stays as it was."""
    found = dict(read_json(SCORES)) if SCORES.exists() else {}
    for name in names:
        directories = PhaseDirectory(RUNS / "results" / name).evaluations().values()
        if scores := _merged(directories):
            found[name] = scores
    write_json(SCORES, found)
    predicted = read_scores(RUNS / run_files(names[0]).prediction, space_of("fashion_pairs"))
    content = ",\n".join(f'"{arch_id}": {scored.acc:.3f}' for arch_id, scored in predicted.items())
    write_text(PREDICTIONS, f"{{\n{content}\n}}\n")


def _merged(directories: Iterable[Path]) -> dict[str, float]:
    """The scores of all evaluations of a run that were merged; the one with fewer archs counts."""
    paths = [merged_path(directory, "prob") for directory in directories]
    files = [read_scores(path, space_of("fashion_pairs")) for path in paths if path.exists()]
    found = {}
    for each in sorted(files, key=len, reverse=True):
        found |= {arch_id: round(scored.acc, 4) for arch_id, scored in each.items()}
    return found


def rows_of(bed: str) -> dict[str, list[Row]]:
    """The ranker's table of each supernet of a test bed."""
    scores, truth = scores_of(bed), truth_of(bed)
    archs = _archs(space_of(bed), {*truth, *(arch_id for each in scores.values() for arch_id in each)})
    return {name: list(_rows(bed, archs, each, truth)) for name, each in scores.items()}


def _rows(
    bed: str, archs: Mapping[str, Arch], scores: Mapping[str, float], truth: Mapping[str, float]
) -> Iterator[Row]:
    space = space_of(bed)
    single = proxies(space, archs, num_classes=CLASSES[bed])
    described = features(space, archs.values(), num_classes=CLASSES[bed])
    known = ranker(described, weights(space), [column(archs, scores)])
    wide = widths(space, archs)
    one, several = (
        {name: column(archs, each) for name, each in kind.items()} for kind in (single, composites(single) | wide)
    )
    accuracy = column(archs, truth)
    yield from compare(known, accuracy, one, several, COUNTS)
    rows = np.flatnonzero(~np.isnan(accuracy))
    best = one[best_of(one, accuracy)][rows]
    for count in SUGGESTED:
        if len(rows) > 2 * count:
            yield _suggested(known.inputs.of(rows), accuracy[rows], best, count)


def _suggested(inputs: PredictorInputs, truth: Floats, best: Floats, count: int) -> Row:
    """A predictor with the truths that `--suggest` would have asked for, of those there are."""
    chosen = np.array(suggest(inputs.columns, count))
    others = np.setdiff1d(np.arange(len(truth)), chosen)
    value = predict(inputs.of(chosen), log_odds(truth[chosen]), inputs.of(others)).value
    judged = cross_validate(lambda _, wanted: value[wanted], truth[others], {"best": best[others]}, 0)
    return Row("predictor, suggested", count, len(truth), judged.tau, judged.gains["best"])


def scores_of(bed: str) -> dict[str, dict[str, float]]:
    """Mean probabilities by supernet."""
    if bed == "fashion_mnist":
        study = read_json(STUDY[bed])["scores"]
        return {name: study[name]["1"]["valid"]["prob"] for name in ("oneshot_s0", "oneshot_s1", "few_s0", "few_s1")}
    path = HERE / f"{bed}.json"
    scores = dict(read_json(path)) if path.exists() else {}
    if bed == "fashion_pairs" and "pairs_oneshot_s0" in scores:  # archs with a truth were scored by themselves, too
        scores["pairs_oneshot_s0"] |= read_json(STUDY[bed])["scores"]["oneshot_s0"]["prob"]
    return scores


def truth_of(bed: str) -> dict[str, float]:
    return {arch_id: entry.acc for arch_id, entry in read_arch_file(FILES / bed / TRUTHS[bed], space_of(bed)).items()}


def _archs(space: Space, ids: Collection[str]) -> dict[str, Arch]:
    """Archs of the pool, in its order."""
    codes = (item for path in part_paths(FILES / "json8", space) for item in read_scores(path, space).items())
    return {arch_id: space.decode(scored.code) for arch_id, scored in codes if arch_id in ids}


def lines(found: Mapping[str, Mapping[str, Sequence[Row]]]) -> Iterator[str]:
    """Markdown: a table for each test bed, a column for each supernet."""
    for bed, tables in found.items():
        if not tables:
            continue
        yield f"\n{bed}: tau, and in brackets the gain over the best single proxy with its interval\n"
        yield f"| ranking | archs | {' | '.join(tables)} |"
        yield f"|{'---|' * (2 + len(tables))}"
        for rows in zip(*tables.values(), strict=True):
            same = len(set(map(cell, rows))) == 1  # a proxy does not depend on the supernet
            cells = [cell(rows[0]), *([""] * (len(rows) - 1))] if same else map(cell, rows)
            yield f"| {rows[0].title} | {rows[0].archs} | {' | '.join(cells)} |"


def cell(row: Row) -> str:
    """Tau, and its gain over the best count with the interval."""
    gain = row.gain
    return f"{row.tau.value:.2f} ({gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}])"


def draw(tables: Mapping[str, Sequence[Row]], directory: Path) -> None:
    """Tau against the number of truths: a line for each supernet, and one without scores."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    lines = {name: [row for row in rows if row.name in ("combined", PREDICTOR)] for name, rows in tables.items()}
    lines["without scores"] = [row for row in next(iter(tables.values())) if row.name == WITHOUT_SCORES]
    for name, shown in lines.items():
        x, y = [row.truths for row in shown], [row.tau.value for row in shown]
        bars = [[row.tau.value - row.tau.low for row in shown], [row.tau.high - row.tau.value for row in shown]]
        axes.errorbar(x, y, bars, marker="o", capsize=2, label=name)
    axes.set(xlabel="truths that the predictor was fitted to", ylabel="tau to the others")
    axes.legend()
    figure.savefig(directory / "ranker_truths.svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(run(main))
