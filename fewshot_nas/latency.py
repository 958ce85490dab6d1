"""Measure how long the parts of a space's networks take on this device, and predict any network's latency from them."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run
from fewshot_nas.config import Config
from fewshot_nas.results.run import ONE_SHOT, latency_path, phase_directory, run_directory, stored_settings, trainings
from fewshot_nas.results.scores import Network, trained_network
from fewshot_nas.running.manifest import fixed_by_network, refuse_settings
from fewshot_nas.running.options import add_config_options, add_device_option, add_save_option, config_of, first_line


def main(argv: Sequence[str] | None = None) -> int:
    """Measure parts and networks in turns, fit, judge, and write the table."""
    options = _parser().parse_intermixed_args(argv)
    for name in ("threads", "batch", "rounds"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} is {getattr(options, name)}, expected at least 1")
    config = config_of(options, stored_settings(options.save))
    network = _network(options.save, config)
    from fewshot_nas.distributed import joined
    from fewshot_nas.timing.measuring import measured_table, show
    from fewshot_nas.timing.programs import Programs, described
    from fewshot_nas.timing.table import write_table

    with joined(options.device, replace(config.run, threads=options.threads)) as world:
        what, classes = f"run {run_directory(options.save)}", f"{network.num_classes} classes"
        print(first_line(what, classes, network.space.name, f"{world.device}"))
        device = described(world.device, options.runtime, options.threads, options.batch)
        programs = Programs(
            network.space, network.num_classes, options.runtime, world.device, options.batch, options.threads
        )
        table = measured_table(programs, options.digits, options.rounds, device)
    out = options.out or latency_path(options.save, options.runtime, device["device"], options.threads, options.batch)
    write_table(out, table)
    show(table, out)
    return 0


def _network(save: str, config: Config) -> Network:
    """The space and the number of classes of a run, or of the settings and their images if there is no run yet."""
    manifest = next((each.manifest for each in trainings(save) if each.manifest.exists()), None)
    model = phase_directory(save, ONE_SHOT).chosen
    space = config.space.build()
    if manifest:
        return trained_network(manifest, space)
    if model.exists():
        from fewshot_nas.models.checkpoint import load_supernet

        supernet = load_supernet(model)
        refuse_settings(config, model, fixed_by_network(supernet.space, supernet.num_classes))
        return Network(supernet.space, supernet.space.resolution, supernet.num_classes)
    if config.data.num_classes is None:
        from fewshot_nas.running.images import images_of

        return Network(space, space.resolution, images_of(config.data).num_classes)
    return Network(space, space.resolution, config.data.num_classes)


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.latency", description=__doc__)
    add = parser.add_argument
    add_save_option(parser)
    add_device_option(parser)
    add("--runtime", choices=("torch", "onnxruntime"), default="torch", help="what runs the networks (default torch)")
    add("--threads", type=int, default=1, metavar="N", help="threads on the CPU (default 1)")
    add("--batch", type=int, default=1, metavar="N", help="images at a time (default 1)")
    add(
        "--rounds", type=int, default=11, metavar="N", help="times that each part and network has its turn (default 11)"
    )
    add("--digits", choices=("pool", "all"), default="pool", help="widths to measure: the pool's (default), or all")
    add("--out", type=Path, metavar="FILE", help="the table (default: a file in results/<save>/latency/)")
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
