"""A search, generation by generation: propose, score together, tell.

Proposals depend on the seed and on scores only. So a search that is started again proposes the same archs, takes
the scores that there are from the journal, and ends with the same front.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Pace, Report, speaker
from fewshot_nas.computing import numerics
from fewshot_nas.data.sources import fixed_part
from fewshot_nas.distributed import World, gathered, joined, on_rank0
from fewshot_nas.evaluation.inputs import Accuracy
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.records.files import sha256
from fewshot_nas.records.journal import Journal
from fewshot_nas.results.directories import FoundDirectory, PhaseDirectory
from fewshot_nas.results.evaluations import no_better
from fewshot_nas.results.found import Found, FoundArch, front, write_found
from fewshot_nas.results.run import found_directory, run_files
from fewshot_nas.results.scores import OF_TOP, Network
from fewshot_nas.running.images import images_for, opened, say_shortage
from fewshot_nas.running.life import alone
from fewshot_nas.scoring.scorer import scorer_for, scoring_facts
from fewshot_nas.searching.proposals import Proposer
from fewshot_nas.searching.request import Request
from fewshot_nas.searching.valuation import Valuation, valuation_by_ranker, valuation_by_supernet
from fewshot_nas.space.cost import Limits, shown
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.timing.table import table_of


@dataclass(frozen=True)
class Generation:
    """The archs that were scored as one tree.

    Attributes:
        macs, plain_macs: multiply-adds for one image, of the tree and of the same archs one by one.
        seconds: duration of the scoring.
    """

    scores: Mapping[Arch, Accuracy]
    macs: int
    plain_macs: int
    seconds: float

    def record(self, space: Space) -> dict[str, Any]:
        scores = {space.encode(arch): list(asdict(each).values()) for arch, each in self.scores.items()}
        return {**vars(self), "scores": scores}


def generations(journal: Journal, space: Space) -> list[Generation]:
    """The generations that were scored.

    Raises:
        InputError: the journal is another search's, or damaged.
    """
    found = []
    for record in journal.read():
        try:
            scores = {space.decode(code): Accuracy(*values) for code, values in record["scores"].items()}
            found.append(Generation(**{**record, "scores": scores}))
        except (KeyError, TypeError, AttributeError):
            said = f"{journal.path}: holds a line that is no generation; delete the file to begin anew"
            raise InputError(said) from None
    return found


@dataclass(frozen=True)
class Search:
    """A search. Every process has one; rank 0 decides and writes.

    Attributes:
        proposer: used on rank 0 only.
        metric: of the scores, one of `scores.METRICS`.
        minimize: measures that are objectives, too, beside the valuation's value.
        numerics: how the processes compute.
        report: takes lines for a person.
    """

    proposer: Proposer
    scorer: Scorer
    valuation: Valuation
    metric: str
    limits: Limits
    minimize: Sequence[str]
    journal: Journal
    numerics: Sequence[Any]
    world: World
    report: Callable[[str], None]

    def run(self, budget: int) -> dict[Arch, Accuracy]:
        """Score `budget` archs within the bounds, or fewer if no new ones are proposed any more.

        Raises:
            InputError: the journal is another search's.
        """
        space = self.limits.space
        before = on_rank0(self.world, lambda: generations(self.journal, space))
        scores = {arch: each for generation in before for arch, each in generation.scores.items()}
        note = self.journal.writing(self.numerics) if self.world.is_rank0 else lambda record: None
        known: dict[Arch, Accuracy] = {}
        pace = Pace(budget - min(budget, len(scores)))
        while len(known) < budget and (asked := on_rank0(self.world, self.proposer.ask)):
            new = asked[: budget - len(known)]
            # After a restart the same archs are proposed, so the journal has their scores up to where it was stopped.
            missing = [arch for arch in new if arch not in scores]
            if missing:
                latest = self._scored(missing)
                note(latest.record(space))
                scores |= latest.scores
            known |= {arch: scores[arch] for arch in new}
            best = on_rank0(self.world, partial(self._tell, new, known))
            if missing:
                pace.advance(len(missing))
                said = _said(len(known), budget, self.valuation.title, best, latest)
                self.report("; ".join(filter(None, (said, pace.left()))))
        if len(known) < budget:
            bounds = " and ".join(map(str, self.limits.bounds))
            where = f"within {bounds}; wider bounds allow more, and so may --digits all" if bounds else "in this space"
            self.report(f"the search ends with {len(known)} of {budget} archs, because no others were found {where}")
        return known

    def raw(self, known: Mapping[Arch, Accuracy]) -> dict[Arch, float]:
        return {arch: getattr(accuracy, self.metric) for arch, accuracy in known.items()}

    def outcome(self, known: Mapping[Arch, Accuracy]) -> Found:
        """The result: all scored archs with their values, and the front of the pool."""
        scores, bounds = self.raw(known), self.limits.bounds
        values, pool = self.valuation(scores), self.valuation.pool(scores)
        measures = list(self.minimize) or [each.name for each in bounds if each.high < math.inf] or ["macs"]
        archs = sorted(map(self._found, values, values.values()), key=lambda each: (-each.score, each.code))
        inside = (self._found(arch, value) for arch, value in pool.items() if self.limits.fits(arch))
        manifest = {**self.journal.manifest, "numerics": self.journal.numerics()}
        return Found(manifest, archs, measures, front(inside, measures))

    def _found(self, arch: Arch, value: float) -> FoundArch:
        return FoundArch(self.limits.space.encode(arch), round(value, 4), self.limits.costs(arch))

    def _scored(self, archs: Sequence[Arch]) -> Generation:
        plan, start = self.scorer.plan(archs), time.perf_counter()
        scores = dict(zip(archs, self.scorer.scores(archs), strict=True))
        return Generation(scores, plan.macs, plan.plain_macs, time.perf_counter() - start)

    def _tell(self, asked: Iterable[Arch], known: Mapping[Arch, Accuracy]) -> float:
        """Value all archs anew, tell the proposer the values of the archs it proposed, and return the best value."""
        values, space = self.valuation(self.raw(known)), self.limits.space
        costs = [self.limits.measures[name] for name in self.minimize]
        self.proposer.tell({arch: [values[arch], *(-cost.of(space, arch) for cost in costs)] for arch in asked})
        return max(values.values(), default=math.nan)


def _said(scored: int, budget: int, measure: str, best: float, latest: Generation) -> str:
    share, speed = latest.macs / latest.plain_macs, len(latest.scores) / latest.seconds
    return (
        f"{scored} of {budget} archs, best {measure} {best:.2f} %; {len(latest.scores)} scored as one tree with"
        f" {100 * share:.0f} % of their multiply-adds, {speed:.1f} a second"
    )


# ---- what the command `search` does when its bounds can be met: a supernet and its images, a search, its outcome -----

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
        # From here on another search of this name is kept out; what follows reads and writes its journal.
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
    # The pool has a front where its archs have merged scores of this supernet.
    fronts = {"front": found.front} | ({"the pool's front": found.pool} if found.pool else {})
    for title, archs in fronts.items():
        shown_archs = archs[:_SHOWN]
        report(f"{title}: {len(archs)} archs" + (f", the {_SHOWN} best of them" if len(archs) > _SHOWN else ""))
        for arch in shown_archs:
            report(f"  {arch.code}  {measure} {arch.score:.2f} %, {_costs(arch)}")
    report(f"written: {directory.found}, {directory.front}")


def _costs(arch: FoundArch) -> str:
    return ", ".join(f"{name} {shown(name, float(f'{value:.4g}'))}" for name, value in arch.costs.items())
