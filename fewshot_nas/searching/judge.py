"""What an arch is worth to a search: its supernet's score, or what the ranker makes of that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import features
from fewshot_nas.ranking.predictor import FEWEST_TRUTHS
from fewshot_nas.ranking.ranker import in_percent, ranker
from fewshot_nas.scores.manifests import Network
from fewshot_nas.space.arch import Arch

Scores = Mapping[Arch, float]  # by the metric of the search, in percent


class Judge(Protocol):
    """Values archs by their scores, the larger the better, in percent."""

    def __call__(self, scores: Scores) -> dict[Arch, float]:
        """The value of each arch that the search has scored."""

    def pool(self, scores: Scores) -> dict[Arch, float]:
        """The values of the pool's archs that have a score, on the same scale.

        Args:
            scores: of the search.
        """


@dataclass(frozen=True)
class BySupernet:
    """The supernet's scores.

    Attributes:
        known: those of the pool's archs, where there are any.
    """

    known: Scores

    def __call__(self, scores: Scores) -> dict[Arch, float]:
        """As `Judge`."""
        return dict(scores)

    def pool(self, scores: Scores) -> dict[Arch, float]:
        """As `Judge.pool`."""
        return dict(self.known)


@dataclass(frozen=True)
class ByRanker:
    """The ranker's predictions, from scores and truths of the pool and from the search's own scores.

    They are made anew for each generation, so that the search's scores smooth the surface too.

    Attributes:
        archs: those of the pool that have scores or truths.
        scores: in percent, of each supernet that the ranker goes by, nan where an arch has none, [archs].
        own: which of these supernets is the one that is searched.
        truth: accuracies in percent, nan where there is none, [archs].
    """

    network: Network
    archs: Sequence[Arch]
    scores: Sequence[Floats]
    own: int
    truth: Floats

    def __call__(self, scores: Scores) -> dict[Arch, float]:
        """As `Judge`."""
        return dict(zip(scores, self._predicted(scores)[len(self.archs) :], strict=True))

    def pool(self, scores: Scores) -> dict[Arch, float]:
        """As `Judge.pool`."""
        return dict(zip(self.archs, self._predicted(scores), strict=False))

    def _predicted(self, scores: Scores) -> list[float]:
        """For the pool's archs, then for the search's."""
        new, unknown = np.array(list(scores.values())), np.full(len(scores), np.nan)
        columns = [
            np.concatenate([each, new if number == self.own else unknown]) for number, each in enumerate(self.scores)
        ]
        described = self._features(list(scores)) if scores else self._described[:0]
        everything = ranker(np.concatenate([self._described, described]), columns)
        truth = np.concatenate([self.truth, unknown])
        enough = (~np.isnan(truth)).sum() >= FEWEST_TRUTHS
        estimate = in_percent(everything.predicted(truth) if enough else everything.combined)
        return [float(value) for value in estimate.value]

    @cached_property
    def _described(self) -> Floats:
        return self._features(self.archs)

    def _features(self, archs: Sequence[Arch]) -> Floats:
        network = self.network
        return features(network.space, archs, resolution=network.resolution, num_classes=network.num_classes)
