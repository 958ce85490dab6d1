"""Train paths of a pool alone, one after the other, and add them to a ground truth."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, read_numbers, run
from fewshot_nas.cli.settings import load
from fewshot_nas.config import Config
from fewshot_nas.cream.config import RetrainConfig
from fewshot_nas.cream.model import FORM, Model, model_of
from fewshot_nas.results.run import run_files, stand_alone_directory
from fewshot_nas.running.options import add_run_options, run_overrides
from fewshot_nas.space.pool import read_codes

_NUMBERS = "a number such as 1, a list such as 1,5,9 or a range such as 1-60"


def main(argv: Sequence[str] | None = None) -> int:
    """Train the paths that the ground truth does not have with this seed."""
    options = _parser().parse_intermixed_args(argv)
    config = load(RetrainConfig, options.config, run_overrides(options), (Config,))
    for override in options.overrides:
        if override.partition("=")[0] in ("MODEL_SELECTION", "INPUT_ARCH"):
            raise InputError(f"{override!r}: the pool has the paths, and --target_arch_num selects them; leave it out")
    if not config.IMAGE_SIZE:
        raise InputError("IMAGE_SIZE is 0, but the paths of a pool have no image size of their own; set it")
    chosen = _selected(options.pool, options.target_arch_num, config)
    from fewshot_nas.cream.retraining import PathTraining, RetrainRun
    from fewshot_nas.distributed import joined
    from fewshot_nas.running.networks import train_all
    from fewshot_nas.training.ground_truth import GroundTruth

    with joined(options.device, config.run) as world:
        here = RetrainRun.asked(options, config, world)
        truth = GroundTruth(options.ground_truth or run_files(options.save).ground_truth)
        homes = {name: stand_alone_directory(options.save, name, config.run.seed) for name in chosen}
        trainings = (
            PathTraining(run=here, directory=homes[name], name=name, code=model.code, model=model, truth=truth)
            for name, model in chosen.items()
        )
        train_all(list(trainings), "paths")
    return 0


def _selected(pool: Path, text: str, config: RetrainConfig) -> dict[str, Model]:
    """The networks of a pool whose numbers `--target_arch_num` names."""
    known = read_codes(pool, lambda code: model_of(code, config.IMAGE_SIZE, config.SPACE))
    names = [f"arch{number}" for number in read_numbers("--target_arch_num", text, _NUMBERS, len(known))]
    for name in names:
        if name not in known:
            raise InputError(f"--target_arch_num names {name}, but {pool} has {len(known)} paths")
    return {name: known[name][1] for name in names}


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.cream.truth", description=__doc__)
    add = parser.add_argument
    add("--pool", type=Path, required=True, metavar="FILE", help="paths that `make_pool` has drawn")
    add("--target_arch_num", required=True, metavar="PATHS", help=f"which of them: {_NUMBERS}")
    add("--ground_truth", type=Path, metavar="FILE", help="file to add to (default results/<save>/gt_arch30.json)")
    add_run_options(parser, FORM)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
