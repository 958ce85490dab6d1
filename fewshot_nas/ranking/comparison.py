"""How well each ranking orders the archs with a truth: the ranker's table, with gains over the best proxy.

A predictor with k truths is judged by nested cross-validation. In each of many draws, k archs are drawn, the whole
predictor including its variances is fitted to them, and it ranks all others. Rival rankings are judged on the same
archs. The intervals come from resampling archs, for both sides together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking import predictor
from fewshot_nas.ranking.baselines import interval, resamples
from fewshot_nas.ranking.correlation import FEWEST, Floats, correlations, tau_of_weights
from fewshot_nas.ranking.interval import (
    COMBINED,
    PREDICTOR,
    UNDEFINED,
    UNSCORED,
    UNTRAINED,
    WITHOUT_SCORES,
    Interval,
    Row,
    merit,
)
from fewshot_nas.ranking.ranker import Ranker, log_odds

DRAWS = 20
MOST_ASKED = 2_000  # archs that a predictor is judged on in a draw, if there are more

FitAndPredict = Callable[[NDArray[np.int64], NDArray[np.int64]], Floats]  # (known, wanted) rows -> values of the wanted


@dataclass(frozen=True)
class Validated:
    """A predictor's tau with k truths, on the archs without a truth, and its gain over each rival there."""

    truths: int
    tau: Interval
    gains: dict[str, Interval]


def cross_validate(fit: FitAndPredict, truth: Floats, rivals: dict[str, Floats], truths: int) -> Validated:
    """Cross-validate a predictor: fit it to some archs, and rank the others by it, in many draws.

    Args:
        fit: predicts the wanted rows from the truths of the known rows; at most `MOST_ASKED` are wanted at a time.
        truth: [n].
        rivals: rankings that need no truth, [n] each.
        truths: number of known rows in each draw; 0 for a ranking that needs no truth.

    Raises:
        InputError: too few archs are left to judge the predictor by.
    """
    if len(truth) - truths < FEWEST:
        raise InputError(f"{len(truth)} truths, expected at least {truths + FEWEST} to judge a predictor with {truths}")
    weights = resamples(len(truth))
    taus: list[Floats] = []
    gains: dict[str, list[Floats]] = {name: [] for name in rivals}
    for known, wanted in _draws(len(truth), truths):
        part = weights[:, wanted]
        mine = tau_of_weights(fit(known, wanted), truth[wanted], part)
        taus.append(mine)
        for name, values in rivals.items():
            gains[name].append(mine - tau_of_weights(values[wanted], truth[wanted], part))
    return Validated(truths, _over_draws(taus), {name: _over_draws(each) for name, each in gains.items()})


def _draws(archs: int, truths: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    rng = np.random.default_rng([0, truths])
    for _ in range(DRAWS if truths else 1):
        order = rng.permutation(archs)
        yield np.sort(order[:truths]), np.sort(order[truths:][: MOST_ASKED if truths else None])


def _over_draws(each: list[Floats]) -> Interval:
    """The mean over the draws that define it, and its interval."""
    defined = [taus for taus in each if not np.isnan(taus[0])]
    return interval(np.mean(defined, axis=0)) if defined else UNDEFINED


TRUTHS = (10, 30, 60)
LEFT = 10  # archs that a predictor has to be judged by, at least


def best_of(proxies: Mapping[str, Floats], truth: Floats) -> str | None:
    """The proxy with the largest tau. The truths themselves choose it, which favours it. None if all are undefined.

    Args:
        proxies: by name, [n] each.
        truth: in percent, nan where there is none, [n].
    """
    known = ~np.isnan(truth)
    merits = {name: merit(correlations(values[known], truth[known])[0]) for name, values in proxies.items()}
    best = max(merits, key=lambda name: merits[name])
    return best if merits[best] > -np.inf else None


def compare(
    ranker: Ranker,
    truth: Floats,
    proxies: Mapping[str, Floats],
    others: Mapping[str, Floats],
    counts: Sequence[int] = TRUTHS,
) -> Iterator[Row]:
    """Judge proxies, scores and predictors by the truths; yields nothing if there are fewer than three truths.

    Args:
        truth: in percent, nan where there is none, [n].
        proxies: by name, [n] each; gains are over the best of them.
        others: more rankings for the table, [n] each.
        counts: the numbers of truths that predictors are fitted to.
    """
    known = ~np.isnan(truth)
    if known.sum() < FEWEST:
        return
    name = best_of(proxies, truth)
    best = proxies[name] if name else None
    plain = {**proxies, **others, "raw": ranker.raw}
    plain |= {"smoothed": ranker.smoothed.value, COMBINED: ranker.combined.value}
    plain |= {} if ranker.untrained is None else {UNTRAINED: ranker.untrained}
    plain |= {UNSCORED: ranker.unscored} if ranker.beside.any() else {}
    for name, values in plain.items():
        judged = known & ~np.isnan(values)
        if judged.sum() >= FEWEST:
            yield _row(name, 0, _fixed(values[judged]), truth[judged], _of(best, judged))
    for count in counts:
        if known.sum() - count >= LEFT:
            for name, inputs in ((PREDICTOR, ranker.inputs), (WITHOUT_SCORES, ranker.shapes)):
                fit = _fit(inputs.of(known), log_odds(truth[known]))
                yield _row(name, count, fit, truth[known], _of(best, known))


def notes(truths: int, beside: int) -> Iterator[str]:
    """What the table does not show: truths that are drawn where there are very many, archs that were scored for it."""
    if beside:
        yield (
            f"{beside} archs of the truth were scored beside the sample: smoothing is not fitted to them, and"
            f" `{UNSCORED}` ranks them as archs without a score are ranked."
        )
    if truths > predictor.MOST_TRUTHS:
        yield f"The predictions are fitted to {predictor.MOST_TRUTHS:,} of the {truths:,} truths, drawn at random."
    if truths > MOST_ASKED:
        yield f"Predictors are judged on {MOST_ASKED:,} other archs in each draw."


def _of(best: Floats | None, rows: NDArray[np.bool_]) -> dict[str, Floats]:
    """The rival that gains are over, on some archs."""
    return {} if best is None else {"best": best[rows]}


def _fixed(values: Floats) -> FitAndPredict:
    return lambda _, wanted: values[wanted]


def _fit(inputs: predictor.PredictorInputs, odds: Floats) -> FitAndPredict:
    return lambda known, wanted: predictor.predict(inputs.of(known), odds[known], inputs.of(wanted)).value


def _row(name: str, truths: int, fit: FitAndPredict, truth: Floats, best: dict[str, Floats]) -> Row:
    validated = cross_validate(fit, truth, best, truths)
    return Row(name, truths, len(truth), validated.tau, validated.gains.get("best", UNDEFINED))
