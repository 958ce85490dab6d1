"""From images and a device to a trained network within bounds: look, plan, train, compare, export, report."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.main import Parser, run
from fewshot_nas.cli.waiting import waiting
from fewshot_nas.fitting.asked import begun_before, held, read_asked
from fewshot_nas.running.options import add_device_option


def main(argv: Sequence[str] | None = None) -> int:
    """Say the plan and carry it out; the same command goes on where it was stopped."""
    begun_s = time.monotonic()
    asked = read_asked(_parser().parse_intermixed_args(argv))
    with held(asked.files):
        state = begun_before(asked)
        print("loading torch ...", flush=True)
        with waiting("still loading torch"):
            from fewshot_nas.fitting.steps import fit  # here, so that --help and mistakes need not wait for torch

        fit(asked, state, begun_s)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.fit", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="the images, in a layout of docs/fit.md; or a CSV of files and labels")
    add("--config", type=Path, metavar="FILE", help="settings in YAML, which count more than the rules")
    add("--save", default="fit", metavar="NAME", help="directory under results/ (default fit)")
    add(
        "--max",
        action="append",
        default=[],
        metavar="MEASURE=VALUE",
        help="the most allowed: latency=2ms on this device, macs=50M, params=1M; may be given several times"
        " (default: what suits the images and the budget)",
    )
    add("--budget", default="1h", metavar="TIME", help="such as 2h or 30min (default 1h)")
    add(
        "--start",
        type=Path,
        metavar="FILE",
        help="weights to begin with: of a ResNet (torchvision, timm), or a supernet",
    )
    add("--int8", action="store_true", help="write an ONNX file of 8 bit integers, too, and compare both")
    add("--seed", type=int, help="replaces run.seed")
    add("--plan", action="store_true", help="end with the plan")
    add_device_option(parser)
    add("overrides", nargs="*", metavar="section.key=value", help="settings that replace the file's and the rules'")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
