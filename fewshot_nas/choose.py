"""Choose a finished phase's epoch anew, by the ground truth as it is now."""

import sys
from collections.abc import Sequence

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.running.options import add_config_options, add_device_option, add_phase_option, add_save_option


def main(argv: Sequence[str] | None = None) -> int:
    """Rank the ground truth with each kept checkpoint, and make the best one the phase's supernet."""
    options = _parser().parse_intermixed_args(argv)
    from fewshot_nas.running.phases import choose  # here, so that --help need not wait for torch

    choose(options)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.choose", description=__doc__)
    add_save_option(parser)
    add_phase_option(parser)
    add_device_option(parser)
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
