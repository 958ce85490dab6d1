"""Train the one-shot supernet: at each step the largest subnet, some sampled ones and the smallest."""

import sys
from collections.abc import Sequence

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.running.options import add_run_options


def main(argv: Sequence[str] | None = None) -> int:
    """Train phase 1 of a run, into results/<save>/."""
    options = _parser().parse_intermixed_args(argv)
    from fewshot_nas.running.phases import train_supernet  # here, so that --help need not wait for torch

    train_supernet(options)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.train_supernet", description=__doc__)
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
