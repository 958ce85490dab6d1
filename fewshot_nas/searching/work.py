"""What the command `search` does when its bounds can be met: a supernet and its images, a search, its outcome."""

import argparse
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Report, speaker
from fewshot_nas.computing import numerics
from fewshot_nas.data.sources import fixed_part
from fewshot_nas.distributed import gathered, joined, on_rank0
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.records.files import sha256
from fewshot_nas.records.journal import Journal
from fewshot_nas.results.directories import FoundDirectory, PhaseDirectory
from fewshot_nas.results.evaluations import no_better
from fewshot_nas.results.found import Found, FoundArch, write_found
from fewshot_nas.results.run import found_directory, run_files
from fewshot_nas.results.scores import OF_TOP, Network
from fewshot_nas.running.images import images_for, opened, say_shortage
from fewshot_nas.running.life import alone
from fewshot_nas.scoring.scorer import scorer_for, scoring_facts
from fewshot_nas.searching.bounds import Limits, shown
from fewshot_nas.searching.explore import Search
from fewshot_nas.searching.request import Request
from fewshot_nas.searching.valuation import Valuation, valuation_by_ranker, valuation_by_supernet
from fewshot_nas.timing.table import table_of

_SHOWN = 10


def search(options: argparse.Namespace, asked: Request) -> FoundDirectory:
    """Search, and write what was found into the directory that is returned."""
    directory, config, model, network = asked.directory, asked.config, asked.model, asked.network
    with joined(options.device, config.run) as world:
        supernet, report = load_supernet(model, world.device), speaker(world.is_rank0)
        if (supernet.space, supernet.num_classes) != (network.space, network.num_classes):
            raise InputError(f"{model}: is of another space or number of classes than {directory.manifest} tells")
        data = images_for(config, model, supernet.space, supernet.num_classes, supernet.trained_on)
        report(opened(f"run {directory.path}, {model.name}", data, supernet.space.name, world))
        say_shortage(config, data, report)
        scored = fixed_part("--images", data.valid, options.images)
        scorer = scorer_for(config, model, supernet, data, scored, world)
        valuation, valued = _valuation(options, directory, network, sha256(model))
        facts = scoring_facts(config, options.save, model, supernet, data, scored)
        manifest = {**facts, **_manifest(options, network, asked.limits, asked.latency_matters), **valued}
        found = found_directory(options.save, options.name or _name(asked.phase.name, options))
        remedy = "go on with the old one, or choose another --name"
        journal = Journal(found.journal, f"{found.path} was begun with", manifest, remedy)
        computing = gathered(numerics(world.device), world)
        with alone(found.lock, world):
            running = Search(
                proposer=asked.proposer,
                scorer=scorer,
                valuation=valuation,
                metric=OF_TOP[options.top],
                limits=asked.limits,
                minimize=options.minimize,
                journal=journal,
                numerics=computing,
                world=world,
                report=report,
            )
            known = running.run(options.budget)
            on_rank0(world, lambda: _finish(found, running.outcome(known), valuation.title, report))
            if said := no_better((each.top1 for each in known.values()), manifest["guessing"]):
                report(said)
    return found


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
) -> tuple[Valuation, dict[str, Any]]:
    """The valuation, by default by the ranker if the run has a ranking, and the facts that it depends on."""
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
