"""Train a found arch on, from the weights that it has in its supernet, or from scratch for comparison."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fewshot_nas.cli import Parser, add_run_options, run, run_config, speaker
from fewshot_nas.commands import command_line
from fewshot_nas.errors import InputError
from fewshot_nas.files import sha256, write_json
from fewshot_nas.results import NetworkDirectory, finetune_directory, phase_directory, phase_of
from fewshot_nas.scores.found import read_found
from fewshot_nas.space.search_space import SearchSpace

if TYPE_CHECKING:
    from fewshot_nas.runs import Run
    from fewshot_nas.space.arch import Arch
    from fewshot_nas.training.stand_alone import WatchedTask


def main(argv: Sequence[str] | None = None) -> int:
    """Train the arch, and write it as a network of its own with its accuracies."""
    options = _parser().parse_intermixed_args(argv)
    phase = phase_of(options.save, options.split_group)
    parent = phase_directory(options.save, phase)
    config = run_config(options, parent.config)
    space = config.space.build()
    code = space.encode(space.decode(_code(options.arch, options.from_search, space)))
    arch, model = space.decode(code), parent.model(options.model_name)
    if not options.scratch and not model.exists():
        raise InputError(f"{model}: no such file, so there are no weights to inherit; --scratch begins without them")
    directory = finetune_directory(options.save, code, None if options.scratch else phase, config.run.seed)
    section = "stand_alone" if options.scratch else "finetune"
    from fewshot_nas.distributed import joined
    from fewshot_nas.runs import Run

    with joined(options.device, config.run) as world:
        training = Run(options.save, config, world, options.resume, speaker(world.is_main))

        def start() -> "WatchedTask":
            return _begun(training, section, arch, None if options.scratch else model)

        facts = {"arch": code, "parent_sha256": None if options.scratch else sha256(model)}
        training.train_network(section, directory, start, facts, lambda task: _finish(training, task, directory))
    return 0


def _code(arch: str | None, search: Path | None, space: SearchSpace) -> str:
    """The arch that is named, or the best of a search.

    Raises:
        InputError: the search has found nothing.
    """
    if arch is not None:
        return arch
    assert search is not None
    archs = read_found(search, space).archs
    if not archs:
        raise InputError(f"{search}: the search has found no arch")
    return archs[0].code


def _begun(training: "Run", section: str, arch: "Arch", model: Path | None) -> "WatchedTask":
    """The task with its first weights; inherited ones come with statistics from training images."""
    from fewshot_nas.evaluation.naive import calibrate
    from fewshot_nas.models.checkpoint import load_supernet
    from fewshot_nas.models.subnet import Subnet, extract
    from fewshot_nas.runs import seed_weights

    space, classes = training.space, training.data.num_classes
    if model is None:
        seed_weights(training.config.run.seed)
        return training.network_task(section, Subnet(space, arch, classes), space.encode(arch))
    supernet = load_supernet(model)
    if (supernet.space, supernet.num_classes) != (space, classes):
        raise InputError(
            f"{model}: is of space {supernet.space.name} with {supernet.num_classes} classes, but the settings are of"
            f" {space.name} with {classes}"
        )
    task = training.network_task(section, extract(supernet, arch), space.encode(arch))
    assert task.valid is not None
    calibrate(task.network, task.valid.calibration_batches())
    training.report(f"inherited weights: {task.measured():.2f} % on {len(task.valid.images)} validation images")
    return task


def _finish(training: "Run", task: "WatchedTask", directory: NetworkDirectory) -> None:
    """Write accuracies, then the network."""
    from fewshot_nas.evaluation.naive import measure
    from fewshot_nas.models.checkpoint import save_subnet

    valid, test = task.measured(), measure(task.network, training.inputs(training.data.test)).top1
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
    add("--split_group", default="1", metavar="G", help="groups of the supernet, or its phase (default 1)")
    add("--model_name", default="supernet", help="checkpoint in the phase's directory (default supernet)")
    add("--scratch", action="store_true", help="begin with fresh weights, by the settings of stand_alone")
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
