"""What the command `judge` does: files of predictions beside a truth; and a run's rankings beside its own truth."""

import argparse
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import FEWEST, Floats
from fewshot_nas.ranking.judgement import Judgement, judge, judgement_text
from fewshot_nas.ranking.predictions import on_truth, read_keys, read_predictions
from fewshot_nas.ranking.truth import of_space, open_truth, reader_of
from fewshot_nas.records.files import write_json
from fewshot_nas.results.scores import Network
from fewshot_nas.running.options import first_line
from fewshot_nas.space.pool import Entry

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def judge_files(options: argparse.Namespace) -> None:
    """Print how well each column of the files ranks the truth, beside counts and rankers without scores."""
    spent = _spent(options.spent)
    # A wrong name is said before any file is read, and a wrong file before the truth, which is large.
    reader_of(options.truth)
    read = [(path, read_predictions(path, options.column)) for path in options.predictions]
    truth = open_truth(options.truth)
    print(first_line(f"truth {truth.name}, {len(truth.keys):,} networks"))
    fitted = np.zeros(len(truth.keys), dtype=bool)
    for path in options.fitted_to:
        fitted |= ~np.isnan(on_truth(path, dict.fromkeys(read_keys(path), 0.0), truth)[0])
    if options.fitted_to:
        print(f"{fitted.sum():,} networks that predictions were fitted to do not count")
        if (~fitted).sum() < FEWEST:
            raise InputError(f"--fitted_to leaves {(~fitted).sum()} networks of the truth, expected at least {FEWEST}")
    columns, several = {}, len(options.predictions) > 1
    for path, predictions in read:
        for name, values in predictions.items():
            title = f"{path}: {name}" if several else name
            columns[title], others = on_truth(path, values, truth)
            columns[title][fitted] = math.nan
            if others:
                print(f"{path}: {name}: {others:,} of its {len(values):,} keys are not in the truth, and do not count")
    _say_what_lacks(columns)
    found = judge(columns, truth)
    print(judgement_text(found, spent))
    if options.out:
        write_json(options.out, found.values())
        print(f"the same numbers: {options.out}")


def _say_what_lacks(columns: Mapping[str, Floats]) -> None:
    """Say of which columns other ones have networks that they lack.

    Raises:
        InputError: hardly a network has a value in every column.
    """
    if len(columns) < 2:
        return
    known = {name: ~np.isnan(values) for name, values in columns.items()}
    every, some = np.all([*known.values()], axis=0), np.any([*known.values()], axis=0)
    if every.sum() < FEWEST:
        each = ", ".join(f"{name}: {has.sum():,}" for name, has in known.items())
        raise InputError(
            f"{every.sum()} networks have a value in all columns ({each}), expected at least {FEWEST};"
            " judge files one by one, or choose columns by --column"
        )
    for name, has in known.items():
        if lacks := int((some & ~has).sum()):
            print(f"{name}: {lacks:,} networks of other columns have no number here, and do not count")


def judge_run(
    path: Path, truth: Mapping[str, Entry], network: Network, rankings: Mapping[str, Mapping[str, float]]
) -> Judgement | None:
    """Rankings of a run judged by its own truth; None if fewer than three of the truth's archs have a value.

    A ranking that has fewer of them than another one, such as raw scores of a sample, is left out.

    Args:
        path: of the truth.
        truth: by arch id.
        rankings: values by arch id, by the name of a ranking.
    """
    knows = {name: truth.keys() & values.keys() for name, values in rankings.items()}
    known = max(knows.values(), key=len)
    if len(known) < FEWEST:
        return None
    space = network.space
    codes = {arch_id: space.encode(truth[arch_id].arch) for arch_id in truth if arch_id in known}
    judged = of_space(
        str(path),
        space,
        {code: [truth[arch_id].acc] for arch_id, code in codes.items()},
        num_classes=network.num_classes,
        resolution=network.resolution,
    )
    columns = {
        name: on_truth(path, {code: values[arch_id] for arch_id, code in codes.items()}, judged)[0]
        for name, values in rankings.items()
        if knows[name] == known
    }
    return judge(columns, judged)


def _spent(text: str | None) -> float | None:
    """The cost of `IMAGESxMACS`, as in `4e6x35M`."""
    if text is None:
        return None
    number = r"(\d+(?:\.\d+)?(?:e\d\d?)?)([kMG]?)"
    match = re.fullmatch(f"{number}x{number}", text)
    factors = [float(match[at]) * _UNITS[match[at + 1]] for at in (1, 3)] if match else [0.0]
    if 0 in factors:
        raise InputError(f"--spent is {text!r}, expected images times multiply-adds of one, such as 3.8Mx35M")
    return math.prod(factors)
