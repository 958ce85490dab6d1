"""Which command produces what a report lacks."""

import shlex

from fewshot_nas.reporting.gather import PhaseRecord, Study
from fewshot_nas.scores.shards import OF_TOP


def train_command(study: Study) -> str:
    """Trains the one-shot phase."""
    return f"python -m fewshot_nas.train_supernet {_save(study)}"


def truth_command(study: Study) -> str:
    """Trains the ground truth's archs."""
    return f"python -m fewshot_nas.train_stand_alone {_save(study)} --target_arch_num=all"


def rank_command(study: Study) -> str:
    """Predicts all archs from merged scores."""
    return f"python -m fewshot_nas.rank {_save(study)}"


def score_command(study: Study, phase: PhaseRecord) -> str:
    """Merges scores if they are there, or else makes them."""
    if phase.unmerged:
        top = next(top for top, metric in OF_TOP.items() if metric == study.metric)
        chosen = "" if top == "1" else f" --top={top}"
        return f"python -m fewshot_nas.merge {_save(study)} --stage={phase.name} --epoch={phase.unmerged[-1]}{chosen}"
    return f"python -m fewshot_nas.test {_save(study)} --split_group={phase.name} --json_part=all --test_set=1"


def _save(study: Study) -> str:
    return f"--save={shlex.quote(study.save)}"
