"""Train a found arch further, from its weights in the supernet: quick, but from scratch it ends better."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fewshot_nas.cli.commands import command_line
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run, speaker
from fewshot_nas.options import add_phase_option, add_run_options, run_config, run_words
from fewshot_nas.records.files import sha256, write_json
from fewshot_nas.results.directories import NetworkDirectory, PhaseDirectory
from fewshot_nas.results.found import read_best
from fewshot_nas.results.run import finetune_directory, phase_directory, phase_of

if TYPE_CHECKING:
    from fewshot_nas.running.networks import NetworkRun
    from fewshot_nas.space.space import Arch
    from fewshot_nas.training.stand_alone import StandAloneTask


def main(argv: Sequence[str] | None = None) -> int:
    """Train the arch, and write its network and its accuracies."""
    options = _parser().parse_intermixed_args(argv)
    chosen = _named(options) if options.arch is not None else _searched(options)
    stored = PhaseDirectory(chosen.model.parent).config
    config, words = run_config(options, stored), run_words(options, stored)
    space = config.space.build()
    arch = space.decode(chosen.code)
    if not chosen.model.exists():
        raise InputError(
            f"{chosen.model}: no such file, so there are no weights to inherit; train_stand_alone needs none"
        )
    directory = finetune_directory(options.save, chosen.name, config.run.seed)
    from fewshot_nas.distributed import joined
    from fewshot_nas.running.networks import NetworkRun

    with joined(options.device, config.run) as world:
        training = NetworkRun(options.save, config, world, options.resume, speaker(world.is_rank0), words, options.plan)
        facts = {"arch": space.encode(arch), "parent_sha256": sha256(chosen.model)}
        training.train_network(
            "finetune",
            directory,
            lambda: _begun(training, arch, chosen.model),
            facts,
            lambda task: _finish(training, task, directory),
        )
    return 0


class _Chosen(NamedTuple):
    """An arch, the file of the supernet with its weights, and the name of its training."""

    code: str
    model: Path
    name: str


def _named(options: argparse.Namespace) -> _Chosen:
    phase = phase_of(options.save, options.phase or "1")
    model = phase_directory(options.save, phase).model(options.model_name or "supernet")
    return _Chosen(options.arch, model, f"{phase.name}_{options.arch}")


def _searched(options: argparse.Namespace) -> _Chosen:
    """The best arch of a search, with the supernet that was searched.

    Raises:
        InputError: the search has found nothing, or its supernet has been replaced.
    """
    path: Path = options.from_search
    best = read_best(path, options.save)
    if options.phase or options.model_name:
        return _Chosen(best.code, _named(argparse.Namespace(**{**vars(options), "arch": best.code})).model, best.search)
    if best.model.exists() and sha256(best.model) != best.model_sha256:
        raise InputError(f"{path}: searched another {best.model} than the one there is now; search anew")
    return _Chosen(best.code, best.model, best.search)


def _begun(training: "NetworkRun", arch: "Arch", model: Path) -> "StandAloneTask":
    """The task with its first weights; inherited weights come with batch norm statistics of training images."""
    from fewshot_nas.evaluation.naive import calibrate
    from fewshot_nas.models.checkpoint import load_supernet
    from fewshot_nas.models.subnet import extract
    from fewshot_nas.running.images import refuse_other_images

    space, classes = training.space, training.data.num_classes
    supernet = load_supernet(model)
    if (supernet.space, supernet.num_classes) != (space, classes):
        raise InputError(
            f"{model}: is of space {supernet.space.name} with {supernet.num_classes} classes, but the settings are of"
            f" {space.name} with {classes}"
        )
    refuse_other_images(model, supernet.trained_on, training.data)
    task = training.network_task("finetune", extract(supernet, arch), space.encode(arch))
    calibrate(task.network, task.valid.calibration_batches())
    training.report(
        f"inherited weights: top-1 {task.measured()[0]:.2f} % on {len(task.valid.images)} validation images"
    )
    return task


def _finish(training: "NetworkRun", task: "StandAloneTask", directory: NetworkDirectory) -> None:
    """Write the accuracies, then the network."""
    from fewshot_nas.models.checkpoint import save_subnet

    valid, test = task.measured(task.valid, task.test)
    write_json(directory.result, {"arch": task.code, "valid": valid, "test": test})
    save_subnet(directory.chosen, task.network, training.space, task.code)
    training.report(f"top-1 {valid:.2f} % on the validation images, {test:.2f} % on the test images")
    following = command_line("export", model=directory.chosen)
    training.report(f"written: {directory.chosen}; `{following}` writes it for other programs")


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.finetune", description=__doc__)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--arch", metavar="CODE", help="the arch's code")
    what.add_argument("--from_search", type=Path, metavar="FILE", help="found.json of a search, whose best arch counts")
    add_phase_option(parser, None, "the one searched, else 1")
    add("--model_name", help="checkpoint in the phase's directory (default: the one searched, else supernet)")
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
