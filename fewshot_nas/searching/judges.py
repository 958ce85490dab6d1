"""Making a search's judge from a run's merged scores and its ranking."""

from typing import Any

from fewshot_nas.commands import command_line
from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json
from fewshot_nas.ranking.features import column
from fewshot_nas.reporting.wording import metric_title, prediction_title
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.run import from_run, ranking_path
from fewshot_nas.scores.evaluations import merged_evaluations, read_evaluation, read_truth
from fewshot_nas.scores.manifests import Network
from fewshot_nas.scores.shards import top_of
from fewshot_nas.searching.judge import ByRanker, BySupernet, Judge


def supernet_judge(directory: PhaseDirectory, checkpoint: str, metric: str, network: Network) -> Judge:
    """A judge by scores alone. The pool's scores are those of the checkpoint's evaluation that counts.

    Args:
        checkpoint: digest of the supernet's file.
        metric: one of `shards.METRICS`.
    """
    merged = (read_evaluation(path, metric, network.space) for path in merged_evaluations(directory, metric))
    own = next((each for each in merged if each.manifest.get("checkpoint_sha256") == checkpoint), None)
    scores = own.scores.values() if own else ()
    return BySupernet({network.space.decode(scored.code): scored.acc for scored in scores}, metric_title(metric))


def ranker_judge(save: str, checkpoint: str, metric: str, network: Network) -> tuple[Judge, dict[str, Any]]:
    """A judge by the ranker, from the scores and truths that `python -m fewshot_nas.rank` used, and a record of these.

    Raises:
        InputError: there is no ranking, or it used another metric or other supernets' scores.
    """
    path = ranking_path(save)
    content, anew = read_json(path), command_line("rank", save=save, top=top_of(metric))
    if not isinstance(content, dict) or not {"metric", "scores", "truth"} <= content.keys():
        raise InputError(f"{path}: is not the ranker's table; `{anew}` makes it anew")
    if content["metric"] != metric:
        raise InputError(
            f"{path}: the ranker went by {content['metric']}, the search by {metric}; `{anew}` ranks by it"
        )
    evaluations = [read_evaluation(from_run(save, each), metric, network.space) for each in content["scores"]]
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
    judge = ByRanker(
        network,
        list(archs.values()),
        [column(archs, {key: scored.acc for key, scored in each.scores.items()}) for each in evaluations],
        own[0],
        column(archs, {key: entry.acc for key, entry in truth.items()}),
        prediction_title(content.get("predicted", "score"), metric),
    )
    return judge, {"ranker": {"scores": content["scores"], "truth": content["truth"], "truths": len(truth)}}
