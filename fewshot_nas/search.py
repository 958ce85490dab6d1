"""Search for the best subnets of a trained supernet within bounds on what they cost."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, Report, run, speaker
from fewshot_nas.options import (
    add_config_options,
    add_device_option,
    add_measure_options,
    add_phase_option,
    add_save_option,
    config_of,
    following,
    training_of,
)
from fewshot_nas.records.files import sha256
from fewshot_nas.results.directories import FoundDirectory, PhaseDirectory
from fewshot_nas.results.evaluations import leading_metric, no_better
from fewshot_nas.results.found import Found, FoundArch, write_found
from fewshot_nas.results.run import (
    found_directory,
    latency_tables,
    phase_directory,
    phase_of,
    run_files,
    trained_phases,
)
from fewshot_nas.results.scores import OF_TOP, Network, network_of, read_manifest, top_of
from fewshot_nas.searching.bounds import MEASURES, Limits, read_bounds, shown
from fewshot_nas.space.cost import cost_measures
from fewshot_nas.space.space import Options, Space
from fewshot_nas.timing.table import chosen_path, left_out_unless, table_of

if TYPE_CHECKING:
    from fewshot_nas.searching.proposals import Proposer
    from fewshot_nas.searching.valuation import Valuation

_SHOWN = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Search, and write what was found."""
    options = _parser().parse_intermixed_args(argv)
    phase = phase_of(options.save, options.phase)
    directory = phase_directory(options.save, phase)
    config = config_of(options, directory.config)
    options.top = options.top or top_of(leading_metric(trained_phases(options.save)))
    model = directory.model(options.model_name)
    network = _network(options, directory, model, config.space.build())
    choices = network.space.all_options if options.digits == "all" else network.space.pool_options
    named = "latency" in (*options.minimize, *(text.partition("=")[0] for text in (*options.min, *options.max)))
    latency_matters = named or options.latency is not None
    with left_out_unless(latency_matters):
        options.latency = _table(options, network)
    limits = _limits(options, network)
    proposer = _proposer(options, limits, choices, config.run.seed)
    # Here, so that --help and a wrong bound are answered at once.
    from fewshot_nas.data.sources import fixed_part
    from fewshot_nas.distributed import gathered, joined, on_rank0
    from fewshot_nas.evaluation.numerics import numerics
    from fewshot_nas.models.checkpoint import load_supernet
    from fewshot_nas.records.journal import Journal
    from fewshot_nas.running.images import images_for, opened, say_shortages
    from fewshot_nas.running.life import alone
    from fewshot_nas.scoring import scorer_for, scoring_facts
    from fewshot_nas.searching.explore import Search

    with joined(options.device, config.run) as world:
        supernet, report = load_supernet(model, world.device), speaker(world.is_rank0)
        if (supernet.space, supernet.num_classes) != (network.space, network.num_classes):
            raise InputError(f"{model}: is of another space or number of classes than {directory.manifest} tells")
        data = images_for(config, model, supernet.space, supernet.num_classes, supernet.trained_on)
        report(opened(f"run {directory.path}, {model.name}", data, supernet.space.name, world))
        say_shortages(config, data, report)
        scored = fixed_part("--images", data.valid, options.images)
        scorer = scorer_for(config, model, supernet, data, scored, world)
        valuation, valued = _valuation(options, directory, network, sha256(model))
        facts = scoring_facts(config, options.save, model, supernet, data, scored)
        manifest = {**facts, **_manifest(options, network, limits, latency_matters), **valued}
        found = found_directory(options.save, options.name or _name(phase.name, options))
        remedy = "go on with the old one, or choose another --name"
        journal = Journal(found.journal, f"{found.path} was begun with", manifest, remedy)
        computing = gathered(numerics(world.device), world)
        with alone(found.lock, world):
            metric = OF_TOP[options.top]
            search = Search(
                proposer, scorer, valuation, metric, limits, options.minimize, journal, computing, world, report
            )
            known = search.run(options.budget)
            on_rank0(world, lambda: _finish(found, search.outcome(known), valuation.title, report))
            if said := no_better((each.top1 for each in known.values()), manifest["guessing"]):
                report(said)
    return 0


def _network(options: argparse.Namespace, directory: PhaseDirectory, model: Path, usual: Space) -> Network:
    """The supernet's space and classes, by its phase's manifest, so that bounds are checked before it is loaded."""
    if directory.manifest.exists():
        manifest = read_manifest(directory.manifest)
        return network_of({**manifest, **manifest.get("data", {})}, directory.manifest, usual)
    if not model.exists():
        begin = training_of(options, phase_of(options.save, options.phase))
        raise InputError(f"{model}: no such file; `{begin}` trains a supernet to search")
    from fewshot_nas.models.checkpoint import load_supernet

    supernet = load_supernet(model)
    return Network(supernet.space, supernet.space.resolution, supernet.num_classes)


def _table(options: argparse.Namespace, network: Network) -> Path | None:
    """The table of latencies, which holds all options that are searched; None if there is none."""
    path = chosen_path(options.latency, latency_tables(options.save))
    if path and table_of(path, network).options == "pool" and options.digits == "all":
        raise InputError(f"{path}: has the pool's options, but all are searched; measure it with --digits all")
    return path


def _limits(options: argparse.Namespace, network: Network) -> Limits:
    """The bounds that the options ask for, and all known measures.

    Raises:
        InputError: a bound or an objective names a measure that is not known.
    """
    measures = cost_measures(network.space, resolution=network.resolution, num_classes=network.num_classes)
    if options.latency is not None:
        measures["latency"] = table_of(options.latency, network).measure
    bounds = read_bounds(options.min, options.max)
    for name in (*(bound.name for bound in bounds), *options.minimize):
        if name not in measures:
            measure = following(options, "latency")
            raise InputError(f"there is no table of latencies of {options.save}; `{measure}` measures one")
    return Limits(network.space, bounds, measures)


def _proposer(options: argparse.Namespace, limits: Limits, choices: Options, seed: int) -> "Proposer":
    """The proposer of archs, after it is proven that some are within the bounds."""
    from fewshot_nas.searching.candidates import Candidates
    from fewshot_nas.searching.feasible import feasible_arch
    from fewshot_nas.searching.proposals import Chance, Evolution

    candidates = Candidates(limits, choices, feasible_arch(limits, choices))
    population = min(options.population, options.budget)
    if options.method == "random":
        return Chance(candidates, seed, population)
    return Evolution(candidates, seed, population)


def _manifest(options: argparse.Namespace, network: Network, limits: Limits, latency_matters: bool) -> dict[str, Any]:
    """The facts that a search depends on beside its scores."""
    latency = None
    if latency_matters and options.latency is not None:
        latency = {"device": dict(table_of(options.latency, network).device), "sha256": sha256(options.latency)}
    return {
        "latency": latency,
        "method": options.method,
        "population": options.population,
        "digits": options.digits,
        "minimize": options.minimize,
        "bounds": list(map(str, limits.bounds)),
    }


def _name(phase: str, options: argparse.Namespace) -> str:
    """A directory's name that tells the search: `1_macs600M`, `2_min-params1M_latency12ms_all_random`."""
    parts = [
        phase,
        *(f"min-{text}" for text in options.min),
        *options.max,
        *(f"for-{each}" for each in options.minimize),
    ]
    parts += [options.digits] if options.digits == "all" else []
    parts += ["random"] if options.method == "random" else []
    return "_".join(part.replace("=", "") for part in parts)


def _valuation(
    options: argparse.Namespace, directory: PhaseDirectory, network: Network, checkpoint: str
) -> tuple["Valuation", dict[str, Any]]:
    """The valuation, by default by the ranker if the run has a ranking, and the facts that it depends on."""
    from fewshot_nas.searching.valuation import valuation_by_ranker, valuation_by_supernet

    metric = OF_TOP[options.top]
    if (options.by or ("ranker" if run_files(options.save).ranking.exists() else "supernet")) == "ranker":
        valuation, facts = valuation_by_ranker(options.save, checkpoint, metric, network)
        return valuation, {"by": "ranker", "metric": metric, "measure": valuation.title, **facts}
    valuation = valuation_by_supernet(directory, checkpoint, metric, network)
    return valuation, {"by": "supernet", "metric": metric, "measure": valuation.title}


def _finish(directory: FoundDirectory, found: Found, measure: str, report: Report) -> None:
    """Write what was found, and print the best archs."""
    write_found(directory.found, directory.front, found)
    for title, archs in {"front": found.front, "the pool's front": found.pool}.items():
        shown_archs = archs[:_SHOWN]
        report(f"{title}: {len(archs)} archs" + (f", the {_SHOWN} best of them" if len(archs) > _SHOWN else ""))
        for arch in shown_archs:
            report(f"  {arch.code}  {measure} {arch.score:.2f} %, {_costs(arch)}")
    report(f"written: {directory.found}, {directory.front}")


def _costs(arch: FoundArch) -> str:
    return ", ".join(f"{name} {shown(name, float(f'{value:.4g}'))}" for name, value in arch.costs.items())


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.search", description=__doc__)
    add = parser.add_argument
    add_save_option(parser)
    add_phase_option(parser)
    add("--model_name", default="supernet", help="checkpoint in the phase's directory (default supernet)")
    for option in ("max", "min"):
        add(
            f"--{option}",
            action="append",
            default=[],
            metavar="MEASURE=VALUE",
            help=f"the {'most' if option == 'max' else 'least'} allowed: macs=600M, params=5M, latency=12ms;"
            " may be given several times",
        )
    add("--budget", type=_count, default=1000, metavar="N", help="archs to score (default 1000)")
    add(
        "--minimize",
        nargs="+",
        default=[],
        choices=MEASURES,
        help="further objectives beside the score; without them, the search is for the best score within the bounds",
    )
    add("--method", choices=("evolution", "random"), default="evolution", help="NSGA-II (default), or random search")
    add("--population", type=_count, default=50, metavar="N", help="archs of a generation (default 50)")
    add("--digits", choices=("pool", "all"), default="pool", help="widths to choose from: the pool's (default), or all")
    add(
        "--by",
        choices=("supernet", "ranker"),
        help="what archs are judged by (default: the ranker, where the run has a ranking, else the supernet)",
    )
    add_measure_options(parser)
    add("--images", type=int, metavar="N", help="score on a fixed part of N images")
    add("--name", metavar="NAME", help="the search's directory under results/<save>/searches/ (default: its bounds)")
    add_device_option(parser)
    add_config_options(parser)
    return parser


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 2:
        raise argparse.ArgumentTypeError(f"is {text}, expected 2 to 999999999")
    return int(text)


if __name__ == "__main__":
    sys.exit(run(main))
