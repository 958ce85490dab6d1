"""What the command `search` is asked for, checked before torch is imported: bounds that can be met, who proposes."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import Config
from fewshot_nas.records.files import read_json
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.evaluations import leading_metric
from fewshot_nas.results.run import Phase, latency_tables, phase_directory, phase_of, run_files
from fewshot_nas.results.scores import METRICS, Network, top_of, trained_network
from fewshot_nas.running.options import config_of, following, training_of
from fewshot_nas.searching.feasible import feasible_arch
from fewshot_nas.searching.proposals import Candidates, Chance, Evolution, Proposer
from fewshot_nas.space.cost import Limits, cost_measures, read_bounds
from fewshot_nas.space.space import Options, Space
from fewshot_nas.timing.table import chosen_path, left_out_unless, table_of


@dataclass(frozen=True)
class Request:
    """A search that can be made.

    Attributes:
        latency_matters: whether the table of latencies is a part of what the search depends on.
    """

    phase: Phase
    directory: PhaseDirectory
    config: Config
    model: Path
    network: Network
    limits: Limits
    proposer: Proposer
    latency_matters: bool


def request(options: argparse.Namespace) -> Request:
    """The search that the options ask for; `top` and `latency` among them are filled in.

    Raises:
        InputError: names the option that is wrong, or the first bound that no network meets.
    """
    phase = phase_of(options.save, options.phase)
    directory = phase_directory(options.save, phase)
    config = config_of(options, directory.config)
    options.top = options.top or top_of(_metric(options, directory))
    model = directory.model(options.model_name)
    network = _network(options, directory, model, config.space.build())
    choices = network.space.all_options if options.digits == "all" else network.space.pool_options
    named = "latency" in (*options.minimize, *(text.partition("=")[0] for text in (*options.min, *options.max)))
    latency_matters = named or options.latency is not None
    with left_out_unless(latency_matters):
        options.latency = _table(options, network)
    limits = _limits(options, network)
    proposer = _proposer(options, limits, choices, config.run.seed)
    return Request(
        phase=phase,
        directory=directory,
        config=config,
        model=model,
        network=network,
        limits=limits,
        proposer=proposer,
        latency_matters=latency_matters,
    )


def _metric(options: argparse.Namespace, directory: PhaseDirectory) -> str:
    """What the ranking went by, if the search goes by it; else what leads in the phase."""
    ranking = run_files(options.save).ranking
    content = read_json(ranking) if options.by != "supernet" and ranking.exists() else None
    known = content.get("metric") if isinstance(content, dict) else None
    return known if known in METRICS else leading_metric([directory])


def _network(options: argparse.Namespace, directory: PhaseDirectory, model: Path, default: Space) -> Network:
    """The supernet's space and classes, by its phase's manifest, so that bounds are checked before it is loaded."""
    if directory.manifest.exists():
        return trained_network(directory.manifest, default)
    if not model.exists():
        begin = training_of(options, phase_of(options.save, options.phase))
        raise InputError(f"{model}: no such file; `{begin}` trains a supernet to search")
    from fewshot_nas.models.checkpoint import load_supernet  # which needs torch

    supernet = load_supernet(model)
    return Network(supernet.space, supernet.space.resolution, supernet.num_classes)


def _table(options: argparse.Namespace, network: Network) -> Path | None:
    """The table of latencies, which holds all options that are searched; None if there is none."""
    path = chosen_path(options.latency, latency_tables(options.save))
    if path and table_of(path, network).options == "pool" and options.digits == "all":
        raise InputError(f"{path}: has the pool's options, but all are searched; measure it with --digits all")
    return path


def _limits(options: argparse.Namespace, network: Network) -> Limits:
    """The bounds that the options ask for, and all known measures."""
    measures = cost_measures(network.space, resolution=network.resolution, num_classes=network.num_classes)
    if options.latency is not None:
        measures["latency"] = table_of(options.latency, network).measure
    bounds = read_bounds(options.min, options.max)
    for name in (*(bound.name for bound in bounds), *options.minimize):
        if name not in measures:
            measure = following(options, "latency")
            raise InputError(f"there is no table of latencies of {options.save}; `{measure}` measures one")
    return Limits(network.space, bounds, measures)


def _proposer(options: argparse.Namespace, limits: Limits, choices: Options, seed: int) -> Proposer:
    """The proposer of archs, after it is proven that some are within the bounds."""
    candidates = Candidates(limits, choices, feasible_arch(limits, choices))
    population = min(options.population, options.budget)
    if options.method == "random":
        return Chance(candidates, seed, population)
    return Evolution(candidates, seed, population)
