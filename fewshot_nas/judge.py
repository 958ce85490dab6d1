"""Say what predictions are worth, by a truth: networks that were trained alone, ours or a public table's."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.main import Parser, run


def main(argv: Sequence[str] | None = None) -> int:
    """Print how well each column of the files ranks the truth, beside counts and rankers without scores."""
    options = _parser().parse_args(argv)
    from fewshot_nas.scoring.judge import judge_files  # here, so that --help need not wait for numpy

    judge_files(options)
    return 0


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
    fitted = "keys that the predictions were fitted to, in any of these forms or a list; their networks do not count"
    add("--fitted_to", action="append", default=[], type=Path, metavar="FILE", help=fitted)
    spent = "what the supernet's training took: images through its subnets, times their mean multiply-adds"
    add("--spent", metavar="IMAGESxMACS", help=spent)
    add("--out", type=Path, metavar="FILE", help="write the same numbers as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
