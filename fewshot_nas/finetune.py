"""Train a found arch further, from its weights in the supernet, or a network of a file on other images (--from)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run
from fewshot_nas.records.files import sha256
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.found import read_best
from fewshot_nas.results.run import phase_directory, phase_of, stored_settings
from fewshot_nas.running.options import add_phase_option, add_run_options, run_config
from fewshot_nas.space.pool import changed_settings

# What moved networks to 100 images of each of five other classes best (studies/transfer), unless settings are given.
MOVED = ("finetune.lr=0.1", "finetune.epochs=30")


def main(argv: Sequence[str] | None = None) -> int:
    """Train the arch, and write its network and its accuracies."""
    options = _parser().parse_intermixed_args(argv)
    if options.source:
        return _transfer(options)
    if options.arch is None and options.from_search is None:
        raise InputError("expected --arch, --from_search or --from, which say what is trained")
    code, model, name = _chosen(options)
    stored = PhaseDirectory(model.parent).config
    config = run_config(options, stored)
    arch = config.space.build().decode(code)
    if not model.exists():
        raise InputError(f"{model}: no such file, so there are no weights to inherit; train_stand_alone needs none")
    from fewshot_nas.distributed import joined
    from fewshot_nas.running.networks import FineTuning
    from fewshot_nas.running.run import Run

    with joined(options.device, config.run) as world:
        FineTuning.of(Run.asked(options, config, world, stored), name, arch, model).carry_out()
    return 0


def _transfer(options: argparse.Namespace) -> int:
    """Train a network of a file on the images of the settings; its space is the file's, if that says one."""
    if options.from_search or options.phase or options.model_name:
        raise InputError("--from names a file, so leave out --from_search, --phase and --model_name")
    from fewshot_nas.distributed import joined
    from fewshot_nas.models.start import read_held
    from fewshot_nas.models.supernet import Supernet
    from fewshot_nas.running.networks import FineTuning
    from fewshot_nas.running.run import Run

    held = read_held(options.source)
    arch = held[2] if isinstance(held, tuple) else None
    space = held[1] if isinstance(held, tuple) else held.space if isinstance(held, Supernet) else None
    if not options.config and not stored_settings(options.save):
        options.overrides = [*MOVED, *(changed_settings(space) if space else ()), *options.overrides]
    config = run_config(options)
    ours = config.space.build()
    if options.arch is not None or arch is None or space is None or space.slots != ours.slots:
        arch = ours.largest if options.arch is None else ours.decode(options.arch)
    with joined(options.device, config.run) as world:
        run = Run.asked(options, config, world)
        name = f"from_{options.source.stem}_{ours.encode(arch)}"
        FineTuning.of(run, name, arch, options.source, transfers=True).carry_out()
    return 0


def _chosen(options: argparse.Namespace) -> tuple[str, Path, str]:
    """An arch's code, the file of the supernet with its weights, and the name of its training."""
    best = read_best(options.from_search, options.save) if options.from_search else None
    if best and not (options.phase or options.model_name):
        if best.model.exists() and sha256(best.model) != best.model_sha256:
            found = f"searched another {best.model} than the one there is now"
            raise InputError(f"{options.from_search}: {found}; search anew")
        return best.code, best.model, best.search
    phase = phase_of(options.save, options.phase or "1")
    model = phase_directory(options.save, phase).model(options.model_name or "supernet")
    return (best.code, model, best.search) if best else (options.arch, model, f"{phase.name}_{options.arch}")


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.finetune", description=__doc__)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--arch", metavar="CODE", help="the arch's code (with --from default: the file's, or the largest)"
    )
    what.add_argument("--from_search", type=Path, metavar="FILE", help="found.json of a search, whose best arch counts")
    add(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="a network of any run, a supernet, or a state dict of torchvision's or timm's ResNets; for other classes"
        " it gets a new classifier",
    )
    add_phase_option(parser, None, "the one searched, else 1")
    add("--model_name", help="checkpoint in the phase's directory (default: the one searched, else supernet)")
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
