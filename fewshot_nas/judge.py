"""Say what predictions are worth, by a truth: networks that were trained alone, ours or a public table's."""

import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run
from fewshot_nas.records.files import write_json
from fewshot_nas.running.options import first_line

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def main(argv: Sequence[str] | None = None) -> int:
    """Print how well each column of the files ranks the truth, beside counts and rankers without scores."""
    options = _parser().parse_args(argv)
    spent = _spent(options.spent)
    # Here, so that --help need not wait for numpy.
    import numpy as np

    from fewshot_nas.ranking.judgement import judge, judgement_text
    from fewshot_nas.ranking.predictions import on_truth, read_predictions
    from fewshot_nas.ranking.truth import open_truth

    truth = open_truth(options.truth)
    print(first_line(f"truth {truth.name}, {len(truth.keys):,} networks"))
    fitted = np.zeros(len(truth.keys), dtype=bool)
    for path in options.fitted_to:
        known = next(iter(read_predictions(path).values()))
        fitted |= ~np.isnan(on_truth(path, known, truth)[0])
    if fitted.any():
        print(f"{fitted.sum():,} networks that predictions were fitted to do not count")
    columns, several = {}, len(options.predictions) > 1
    for path in options.predictions:
        for name, values in read_predictions(path, options.column).items():
            title = f"{path}: {name}" if several else name
            columns[title], others = on_truth(path, values, truth)
            columns[title][fitted] = math.nan
            if others:
                print(f"{path}: {name}: {others:,} of its {len(values):,} keys are not in the truth, and do not count")
    found = judge(columns, truth)
    print(judgement_text(found, spent))
    if options.out:
        write_json(options.out, found.values())
        print(f"the same numbers: {options.out}")
    return 0


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


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.judge", description=__doc__)
    add = parser.add_argument
    files = "numbers by key: scores, rank's predicted.csv, or any CSV or JSON; without a file, counts are judged"
    add("predictions", nargs="*", type=Path, metavar="FILE", help=files)
    shipped = "digits, fashion_mnist, fashion_pairs, imagenet"
    tables = "channel_resnet, channel_mobilenet or macro =FILE for a public table"
    add("--truth", required=True, metavar="NAME[=FILE]", help=f"{shipped}; {tables}; or module:name[=FILE]")
    column = "which of the files' columns; may be given several times (default: rank's predictions, or all numbers)"
    add("--column", action="append", default=[], metavar="NAME", help=column)
    fitted = "truths that the predictions were fitted to, in any of these forms; their networks do not count"
    add("--fitted_to", action="append", default=[], type=Path, metavar="FILE", help=fitted)
    spent = "what the supernet's training took: images through its subnets, times their mean multiply-adds"
    add("--spent", metavar="IMAGESxMACS", help=spent)
    add("--out", type=Path, metavar="FILE", help="write the same numbers as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
