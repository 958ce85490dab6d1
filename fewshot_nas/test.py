"""Score the archs of a pool's parts with a trained supernet."""

import sys
from collections.abc import Sequence

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.running.options import (
    add_config_options,
    add_device_option,
    add_executor_options,
    add_phase_option,
    add_save_option,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate parts of the pool, or show what it would cost."""
    options = _parser().parse_intermixed_args(argv)
    from fewshot_nas.scoring.evaluate import evaluate  # here, so that --help need not wait for torch

    evaluate(options)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.test", description=__doc__)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json_part", metavar="PART", help="1 to 8, a list such as 1,3, a range such as 1-8, or all")
    what.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="N archs of all parts, spread well, and the ground truth's; rank predicts the others (default: 1,000, or"
        " all archs if the pool has no more)",
    )
    what.add_argument("--arch", metavar="CODE", help="only print the scores of one arch, or of several: CODE,CODE")
    add_save_option(parser)
    add_phase_option(parser)
    add("--model_name", default="supernet", help="checkpoint in the phase's directory (default supernet)")
    add("--epoch", type=int, help="names the output (default: the epoch that the checkpoint tells)")
    add("--test_set", type=int, choices=(0, 1), default=0, help="1: the test images; 0: those to rank on (default)")
    add("--limit", type=int, metavar="N", help="only the first N archs of each part (not of a sample)")
    add("--images", type=int, metavar="N", help="score on a fixed part of N images")
    add("--calibration_images", type=int, metavar="N", help="replaces evaluation.calibration_images")
    add("--precision", choices=("fp32", "bf16"), help="replaces run.precision")
    add_device_option(parser)
    add("--plan", action="store_true", help="only show what would be computed; needs neither supernet nor images")
    add_executor_options(parser)
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
