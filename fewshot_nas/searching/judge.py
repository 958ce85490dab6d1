"""The value of an arch in a search: its score, or the ranker's prediction from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from fewshot_nas.ranking.features import features
from fewshot_nas.ranking.influence import Floats
from fewshot_nas.ranking.predictor import can_predict
from fewshot_nas.ranking.ranker import in_percent, ranker
from fewshot_nas.scores.manifests import Network
from fewshot_nas.space.space import Arch

Scores = Mapping[Arch, float]  # by the metric of the search, in percent


class Judge(Protocol):
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
        """As `Judge`."""
        return dict(scores)

    def pool(self, scores: Scores) -> dict[Arch, float]:
        """As `Judge.pool`."""
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
        title: as in `Judge`.
    """

    network: Network
    archs: Sequence[Arch]
    scores: Sequence[Floats]
    own: int
    truth: Floats
    title: str

    def __call__(self, scores: Scores) -> dict[Arch, float]:
        """As `Judge`."""
        return dict(zip(scores, self._predicted(scores)[len(self.archs) :], strict=True))

    def pool(self, scores: Scores) -> dict[Arch, float]:
        """As `Judge.pool`."""
        return dict(zip(self.archs, self._predicted(scores), strict=False))

    def _predicted(self, scores: Scores) -> list[float]:
        """Predictions for the pool's archs, then for the search's."""
        new, unknown = np.array(list(scores.values())), np.full(len(scores), np.nan)
        columns = [
            np.concatenate([each, new if number == self.own else unknown]) for number, each in enumerate(self.scores)
        ]
        described = self._features(list(scores)) if scores else self._described[:0]
        everything = ranker(np.concatenate([self._described, described]), columns)
        truth = np.concatenate([self.truth, unknown])
        estimate = in_percent(everything.predicted(truth) if can_predict(truth) else everything.combined)
        return [float(value) for value in estimate.value]

    @cached_property
    def _described(self) -> Floats:
        return self._features(self.archs)

    def _features(self, archs: Sequence[Arch]) -> Floats:
        network = self.network
        return features(network.space, archs, resolution=network.resolution, num_classes=network.num_classes)
