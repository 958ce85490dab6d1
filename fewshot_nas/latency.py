"""Measure how long the parts of a space's networks take on this device, and predict any network's latency from them."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from tqdm import tqdm

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run
from fewshot_nas.cli.pace import Pace
from fewshot_nas.config import Config
from fewshot_nas.manifest import fixed_by_network, refuse_settings
from fewshot_nas.options import add_config_options, add_device_option, add_save_option, config_of, first_line
from fewshot_nas.results.run import ONE_SHOT, latency_path, phase_directory, run_directory, stored_settings, trainings
from fewshot_nas.results.scores import Network, network_of, read_manifest
from fewshot_nas.space.draw import distinct, random_arch

if TYPE_CHECKING:
    from fewshot_nas.timing.clock import Program
    from fewshot_nas.timing.programs import Programs
    from fewshot_nas.timing.table import LatencyTable

Choices = Literal["pool", "all"]  # of a space's options
FITTED, JUDGED = 30, 50  # networks; in the same proportion if the space has fewer


def main(argv: Sequence[str] | None = None) -> int:
    """Measure parts and networks in turns, fit, judge, and write the table."""
    options = _parser().parse_intermixed_args(argv)
    for name in ("threads", "batch", "rounds"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} is {getattr(options, name)}, expected at least 1")
    config = config_of(options, stored_settings(options.save))
    network = _network(options.save, config)
    from fewshot_nas.distributed import joined
    from fewshot_nas.timing.programs import Programs, described
    from fewshot_nas.timing.table import write_table

    with joined(options.device, replace(config.run, threads=options.threads)) as world:
        what, classes = f"run {run_directory(options.save)}", f"{network.num_classes} classes"
        print(first_line(what, classes, network.space.name, f"{world.device}"))
        device = described(world.device, options.runtime, options.threads, options.batch)
        programs = Programs(
            network.space, network.num_classes, options.runtime, world.device, options.batch, options.threads
        )

        table = _measured(programs, options.digits, options.rounds, device)
    out = options.out or latency_path(options.save, options.runtime, device["device"], options.threads, options.batch)
    write_table(out, table)
    _show(table, out)
    return 0


def _network(save: str, config: Config) -> Network:
    """The space and the number of classes of a run, or of the settings and their images if there is no run yet."""
    manifest = next((each.manifest for each in trainings(save) if each.manifest.exists()), None)
    model = phase_directory(save, ONE_SHOT).chosen
    space = config.space.build()
    if manifest:
        known = read_manifest(manifest)
        return network_of({**known, **known.get("data", {})}, manifest, space)
    if model.exists():
        from fewshot_nas.models.checkpoint import load_supernet

        supernet = load_supernet(model)
        refuse_settings(config, model, fixed_by_network(supernet.space, supernet.num_classes))
        return Network(supernet.space, supernet.space.resolution, supernet.num_classes)
    if config.data.num_classes is None:
        from fewshot_nas.running.images import images_of

        return Network(space, space.resolution, images_of(config.data).num_classes)
    return Network(space, space.resolution, config.data.num_classes)


def _measured(programs: "Programs", choices: Choices, count: int, device: Mapping[str, Any]) -> "LatencyTable":
    """Time parts and networks in turns, fit the table to some networks, and judge it on the others."""
    from fewshot_nas.space.block import Head
    from fewshot_nas.timing.clock import rounds, timings
    from fewshot_nas.timing.fitting import fitted, judged
    from fewshot_nas.timing.programs import distinct_parts
    from fewshot_nas.timing.table import Call, LatencyFit, LatencyTable, Sized

    space = programs.space
    options = space.all_options if choices == "all" else space.pool_options
    parts = distinct_parts(space, options)
    rng = Random(0)
    archs = distinct(lambda: random_arch(space, rng, options), FITTED + JUDGED)
    fits = max(1, len(archs) * FITTED // (FITTED + JUDGED))
    print(f"{len(parts)} parts and {len(archs)} networks, {count} rounds, on {device['name']}: {device['timed']}")
    made: dict[Any, Program] = {Call(): programs.empty()}
    for each in tqdm([*parts, *archs], desc="making", disable=None, leave=False):
        made[each] = programs.of_part(each) if isinstance(each, Sized | Head) else programs.of_arch(each)
    pace, measured = Pace(count, tqdm.write), []
    for each_round in tqdm(rounds(made, count, stopwatch=programs.stopwatch), desc="rounds", total=count, disable=None):
        measured.append(each_round)
        pace.advance()
    times = timings(measured)
    known, whole = {part: times[part] for part in parts}, {arch: times[arch] for arch in archs}
    raw = LatencyTable(device, space, programs.num_classes, choices, times[Call()], known, LatencyFit(0, 1, ()), {})
    table = fitted(raw, {arch: whole[arch].us for arch in archs[:fits]})
    facts = {
        "rounds": count,
        "spread_of_parts_percent": round(100 * median(each.spread for each in known.values()), 2),
        "spread_of_networks_percent": round(100 * median(each.spread for each in whole.values()), 2),
        "fitted_to": fits,
    }
    return replace(table, validation=facts | judged(table, {arch: whole[arch].us for arch in archs[fits:]}))


def _show(table: "LatencyTable", path: Path) -> None:
    from fewshot_nas.ranking.interval import shown
    from fewshot_nas.timing.fitting import AIM_ERROR_PERCENT, AIM_TAU

    found = table.validation
    if not found["networks"]:
        print(f"written: {path}; no network is left to judge the predictions by")
        return
    tau = math.nan if found["tau"] is None else found["tau"]
    print(
        f"predicted against measured on {found['networks']} networks that nothing was fitted to: mean error"
        f" {found['mean_error_percent']:.1f} %, largest {found['largest_error_percent']:.1f} %, tau {shown(tau)}"
    )
    worst = found["worst"]
    print(
        f"the worst: {worst['code']}, predicted {worst['predicted_us']:.0f} us, measured {worst['measured_us']:.0f} us"
    )
    if found["mean_error_percent"] > AIM_ERROR_PERCENT or tau < AIM_TAU:
        print(
            f"this misses the aim of {AIM_ERROR_PERCENT:.0f} % and a tau of {AIM_TAU}: rounds differ by"
            f" {found['spread_of_parts_percent']:.1f} % for parts and {found['spread_of_networks_percent']:.1f} % for"
            " networks; measure on a quieter machine, or with more --rounds"
        )
    print(f"written: {path}")


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
