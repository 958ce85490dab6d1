"""Choose a finished phase's epoch anew, by the ground truth as it is now."""

import argparse
import sys
from collections.abc import Sequence

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run
from fewshot_nas.records.files import locked, sha256
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.run import Phase, phase_directory, phase_of, phases, run_directory
from fewshot_nas.results.scores import read_manifest
from fewshot_nas.running.options import (
    add_config_options,
    add_device_option,
    add_phase_option,
    add_save_option,
    config_of,
    following,
    training_of,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Rank the ground truth with each kept checkpoint, and make the best one the phase's supernet."""
    options = _parser().parse_intermixed_args(argv)
    phase = phase_of(options.save, options.phase)
    directory = phase_directory(options.save, phase)
    _refuse_unfinished(options, phase, directory)
    config = config_of(options, directory.config)
    from fewshot_nas.distributed import joined
    from fewshot_nas.running.images import refuse_other_images
    from fewshot_nas.running.run import Run
    from fewshot_nas.running.supernets import Truth, choose_anew, measured_epochs
    from fewshot_nas.training.log import RunLog

    before = sha256(directory.chosen)
    with joined(options.device, config.run) as world, locked(directory.lock, wait=False):
        words = f"run {directory.path} (choosing anew)"
        running = Run(save=options.save, config=config, world=world, resume=True, report=print, words=words)
        known = read_manifest(directory.manifest).get("data", {})
        begun = {key: value for key, value in known.items() if key != "valid"}  # may be ranked on other images
        refuse_other_images(directory.path, begun, running.data)
        truth = Truth.read(config.truth_path(options.save), running.space)
        if not truth.entries:
            make = following(options, "train_stand_alone", target_arch_num="all")
            raise InputError(f"{truth.path}: no such file, so there is nothing to choose by; `{make}` makes one")
        epochs = measured_epochs(directory, truth, running.inputs(running.data.valid))
        for each in epochs:
            print(
                f"epoch {each.candidate.epoch + 1}: tau {each.tau.text()}, {len(truth.entries)} archs of {truth.path}"
            )
        with RunLog(directory.log, directory.events) as log:
            print(choose_anew(directory, epochs, truth, log))
    if sha256(directory.chosen) == before:
        print("the phase's supernet is the same as before")
    else:
        score = following(options, "test", phase=phase.name)
        print(f"the phase's supernet has changed: `{score}` scores with it; phases split from it are of the old one")
    return 0


def _refuse_unfinished(options: argparse.Namespace, phase: Phase, directory: PhaseDirectory) -> None:
    if not directory.chosen.exists() or not directory.manifest.exists():
        finished = ", ".join(each.name for each in phases(options.save)) or "none"
        raise InputError(
            f"{directory.path}: is not a phase that was trained to its end here; finished are: {finished}"
            f" of {run_directory(options.save)}; `{training_of(options, phase)}` trains it"
        )


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.choose", description=__doc__)
    add_save_option(parser)
    add_phase_option(parser)
    add_device_option(parser)
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
