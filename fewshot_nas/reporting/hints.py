"""The commands that produce what a report lacks."""

from fewshot_nas.cli.commands import command_line
from fewshot_nas.reporting.gather import PhaseRecord, Study
from fewshot_nas.results.run import SEARCH


def _paths(study: Study) -> bool:
    """Whether it is a Cream search's."""
    return any(phase.name == SEARCH.name for phase in study.phases)


def train_command(study: Study) -> str:
    """Trains the first phase."""
    return command_line("cream.search" if _paths(study) else "train_supernet", save=study.save)


def truth_command(study: Study) -> str:
    """Trains the ground truth's archs."""
    if _paths(study):
        return command_line("cream.truth", save=study.save, pool="POOL.json", target_arch_num="1-30")
    return command_line("train_stand_alone", save=study.save, target_arch_num="all")


def rank_command(study: Study) -> str:
    """Predicts all archs from merged scores."""
    return command_line("rank", save=study.save)


def search_command(study: Study) -> str:
    """Searches the first phase's supernet for the best score."""
    return command_line("search", save=study.save)


def score_command(study: Study, phase: PhaseRecord) -> str:
    """Merges scores if they are there, or else makes them."""
    if phase.unmerged:
        return command_line("merge", save=study.save, phase=phase.name, epoch=phase.unmerged[-1])
    return command_line("test", save=study.save, phase=phase.name)
