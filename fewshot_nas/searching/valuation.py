"""The value of an arch in a search: its score, or the ranker's prediction from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import command_line
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import column, column_of_codes, features, weights
from fewshot_nas.ranking.predictor import can_predict
from fewshot_nas.ranking.ranker import in_percent, ranker
from fewshot_nas.records.files import read_json
from fewshot_nas.reporting.style import prediction_title
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.evaluations import merged_evaluations, read_evaluation, read_truth, read_untrained
from fewshot_nas.results.run import from_run, run_files
from fewshot_nas.results.scores import TITLES, Network, top_of
from fewshot_nas.space.space import Arch

Scores = Mapping[Arch, float]  # by the metric of the search, in percent


class Valuation(Protocol):
    """Gives archs values in percent, by their scores; a larger value is better."""

    @property
    def title(self) -> str:
        """What the percentages are of, for people."""

    def __call__(self, scores: Scores) -> dict[Arch, float]:
        """The value of each arch that the search has scored."""

    def pool(self, scores: Scores) -> dict[Arch, float]:
        """The values of the pool's archs that have a score, on the same scale.

        Args:
            scores: of the search.
        """


@dataclass(frozen=True)
class BySupernet:
    """The value is the supernet's score.

    Attributes:
        known: scores of the pool's archs; may be empty.
    """

    known: Scores
    title: str

    def __call__(self, scores: Scores) -> dict[Arch, float]:
        return dict(scores)

    def pool(self, scores: Scores) -> dict[Arch, float]:
        return dict(self.known)


@dataclass(frozen=True)
class ByRanker:
    """The value is the ranker's prediction, from scores and truths of the pool and from the search's own scores.

    Predictions are made anew for each generation, because the search's scores improve them.

    Attributes:
        archs: the archs of the pool that have scores or truths.
        scores: for each supernet that the ranker uses, in percent, nan where an arch has none, [archs].
        own: the number of the supernet that is searched.
        truth: accuracies in percent, nan where there is none, [archs].
        untrained: scores of untrained networks, nan where an arch has none, [archs]; None if they do not count.
        title: what the predictions are of, for people.
    """

    network: Network
    archs: Sequence[Arch]
    scores: Sequence[Floats]
    own: int
    truth: Floats
    untrained: Floats | None
    title: str

    def __call__(self, scores: Scores) -> dict[Arch, float]:
        return dict(zip(scores, self._predicted(scores)[len(self.archs) :], strict=True))

    def pool(self, scores: Scores) -> dict[Arch, float]:
        return dict(zip(self.archs, self._predicted(scores), strict=False))

    def _predicted(self, scores: Scores) -> list[float]:
        """Predictions for the pool's archs, then for the search's."""
        new, unknown = np.array(list(scores.values())), np.full(len(scores), np.nan)
        columns = [
            np.concatenate([each, new if number == self.own else unknown]) for number, each in enumerate(self.scores)
        ]
        described = self._features(list(scores)) if scores else self._described[:0]
        everything = ranker(
            np.concatenate([self._described, described]),
            weights(self.network.space),
            columns,
            untrained=None if self.untrained is None else np.concatenate([self.untrained, unknown]),
        )
        truth = np.concatenate([self.truth, unknown])
        estimate = in_percent(everything.predicted(truth) if can_predict(truth) else everything.combined)
        return [float(value) for value in estimate.value]

    @cached_property
    def _described(self) -> Floats:
        return self._features(self.archs)

    def _features(self, archs: Sequence[Arch]) -> Floats:
        network = self.network
        return features(network.space, archs, resolution=network.resolution, num_classes=network.num_classes)


def valuation_by_supernet(directory: PhaseDirectory, checkpoint: str, metric: str, network: Network) -> Valuation:
    """Values are scores. The pool's scores are those of the checkpoint's evaluation that counts.

    Args:
        checkpoint: digest of the supernet's file.
        metric: one of `scores.METRICS`.
    """
    merged = (read_evaluation(path, metric, network.space) for path in merged_evaluations(directory, metric))
    own = next((each for each in merged if each.manifest.get("checkpoint_sha256") == checkpoint), None)
    scores = own.scores.values() if own else ()
    return BySupernet({network.space.decode(scored.code): scored.acc for scored in scores}, TITLES[metric])


def valuation_by_ranker(save: str, checkpoint: str, metric: str, network: Network) -> tuple[Valuation, dict[str, Any]]:
    """Values are the ranker's predictions. Also returns a record of the scores and truths that they are made from.

    Raises:
        InputError: the run has no ranking, or it used another metric or other supernets' scores.
    """
    path = run_files(save).ranking
    content, anew = read_json(path), command_line("rank", save=save, top=top_of(metric))
    if not isinstance(content, dict) or not {"metric", "scores", "truth"} <= content.keys():
        raise InputError(f"{path}: is not the ranker's table; `{anew}` makes it anew")
    if content["metric"] != metric:
        raise InputError(
            f"{path}: the ranker went by {content['metric']}, the search by {metric}; `{anew}` ranks by it"
        )
    evaluations = [read_evaluation(from_run(save, each), metric, network.space) for each in content["scores"]]
    # The search scores new archs with one supernet, so the ranker must know scores of that one to place them.
    own = [number for number, each in enumerate(evaluations) if each.manifest.get("checkpoint_sha256") == checkpoint]
    if not own:
        raise InputError(
            f"{path}: the ranker went by {', '.join(content['scores'])}, none of which is of this supernet;"
            f" `{anew} --scores DIR` ranks by scores of it, or search with --by supernet"
        )
    codes = {arch_id: scored.code for each in evaluations for arch_id, scored in each.scores.items()}
    truth = read_truth(from_run(save, content["truth"]), codes, network.space) if content["truth"] else {}
    archs = {arch_id: entry.arch for arch_id, entry in truth.items()}
    archs |= {arch_id: network.space.decode(code) for arch_id, code in codes.items()}
    untrained = read_untrained(run_files(save).untrained) if content.get("untrained") else {}
    # Untrained networks of archs that have neither score nor truth are known by their codes.
    archs |= {code: network.space.decode(code) for code in untrained.keys() - codes.values()}
    valuation = ByRanker(
        network,
        list(archs.values()),
        [column(archs, {key: scored.acc for key, scored in each.scores.items()}) for each in evaluations],
        own[0],
        column(archs, {key: entry.acc for key, entry in truth.items()}),
        column_of_codes(network.space, archs, untrained) if untrained else None,
        prediction_title(content.get("predicted", "score"), metric),
    )
    made_of = {"scores": content["scores"], "truth": content["truth"], "truths": len(truth)}
    return valuation, {"ranker": made_of | ({"untrained": len(untrained)} if untrained else {})}
