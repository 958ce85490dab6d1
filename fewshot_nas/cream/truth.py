"""Train paths of a pool alone, one after the other, and add them to a ground truth."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_nas.cli.errors import BusyError, InputError
from fewshot_nas.cli.main import Parser, read_numbers, run, speaker
from fewshot_nas.cli.pace import Pace
from fewshot_nas.cli.settings import load
from fewshot_nas.config import Config
from fewshot_nas.cream.config import RetrainConfig
from fewshot_nas.cream.model import FORM, Model, model_of
from fewshot_nas.options import add_run_options, run_overrides, run_words
from fewshot_nas.results.run import run_files, stand_alone_directory
from fewshot_nas.space.pool import read_codes

if TYPE_CHECKING:
    from fewshot_nas.cream.retrain_task import RetrainTask
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.running.life import Training
    from fewshot_nas.training.stand_alone import GroundTruth

_NUMBERS = "a number such as 1, a list such as 1,5,9 or a range such as 1-60"


def main(argv: Sequence[str] | None = None) -> int:
    """Train the paths that the ground truth does not have with this seed."""
    options = _parser().parse_intermixed_args(argv)
    config, words = load(RetrainConfig, options.config, run_overrides(options), (Config,)), run_words(options)
    for override in options.overrides:
        if override.partition("=")[0] in ("MODEL_SELECTION", "INPUT_ARCH"):
            raise InputError(f"{override!r}: the pool has the paths, and --target_arch_num selects them; leave it out")
    if not config.IMAGE_SIZE:
        raise InputError("IMAGE_SIZE is 0, but the paths of a pool have no image size of their own; set it")
    chosen = _selected(options.pool, options.target_arch_num, config)
    from fewshot_nas.cream.runs import CreamRun
    from fewshot_nas.distributed import joined
    from fewshot_nas.training.stand_alone import GroundTruth

    with joined(options.device, config.run) as world:
        report = speaker(world.is_rank0)
        training = CreamRun(config, config.IMAGE_SIZE, world, options.resume, report, words=words, plan=options.plan)
        truth = GroundTruth(options.ground_truth or run_files(options.save).ground_truth)
        if options.plan:
            training.report(f"{len(chosen)} paths; the first of them alone:")
            chosen = dict(islice(chosen.items(), 1))
        left = [arch_id for arch_id in chosen if not (options.resume and truth.has(arch_id, config.run.seed))]
        pace = Pace(len(left), lambda line: training.report(f"{len(left)} paths: {line}"))
        for arch_id, model in chosen.items():
            _train(training, config, arch_id, model, options.save, truth)
            if arch_id in left and not options.plan:
                pace.advance()
    return 0


def _selected(pool: Path, text: str, config: RetrainConfig) -> dict[str, Model]:
    """The networks of a pool whose numbers `--target_arch_num` names."""
    values = asdict(config.SPACE)
    known = read_codes(pool, lambda code: model_of(code, config.IMAGE_SIZE, values))
    names = [f"arch{number}" for number in read_numbers("--target_arch_num", text, _NUMBERS, len(known))]
    for name in names:
        if name not in known:
            raise InputError(f"--target_arch_num names {name}, but {pool} has {len(known)} paths")
    return {name: known[name][1] for name in names}


def _train(
    training: "CreamRun", config: RetrainConfig, arch_id: str, model: Model, save: str, truth: "GroundTruth"
) -> None:
    from fewshot_nas.cream.retrain import start_training, statistics
    from fewshot_nas.evaluation.naive import measure
    from fewshot_nas.manifest import recipe_sha256
    from fewshot_nas.training.stand_alone import StandAloneResult

    code, seed, recipe = model.code, config.run.seed, ""

    def content() -> dict[str, Any]:
        nonlocal recipe
        facts = {"arch": code, "resolution": training.resolution, **statistics(training, config)}
        written = training.manifest(facts)
        recipe = recipe_sha256(written)
        return written

    def finished(going_on: bool) -> str:
        truth.refuse_others(recipe, arch_id, code)
        known = training.resume and truth.has(arch_id, seed)
        return f"{arch_id} with seed {seed} is in {truth.path} already" if known else ""

    def finish(task: "RetrainTask", log: object) -> None:
        valid, test = (measure(task.average.module, inputs).top1 for inputs in (training.valid, training.test))
        result = StandAloneResult(arch_id, code, seed, recipe, valid, test)
        truth.add(result)
        training.report(f"{arch_id}, seed {seed}: top-1 {result.valid:.2f} %, test top-1 {result.test:.2f} %")

    def start() -> "Training[RetrainTask]":
        _ = training.test  # an image that cannot be read is noticed before the training
        return start_training(training, config, model)

    life = training.life(stand_alone_directory(save, arch_id, seed))
    try:
        life.run(content, start, finish, finished)
    except BusyError as error:
        training.report(f"{arch_id} is left out: {error}")


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
