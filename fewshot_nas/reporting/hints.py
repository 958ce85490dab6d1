"""The commands that produce what a report lacks."""

from fewshot_nas.cli.commands import command_line
from fewshot_nas.reporting.gather import PhaseRecord, Study


def train_command(study: Study) -> str:
    """Trains the one-shot phase."""
    return command_line("train_supernet", save=study.save)


def truth_command(study: Study) -> str:
    """Trains the ground truth's archs."""
    return command_line("train_stand_alone", save=study.save, target_arch_num="all")


def rank_command(study: Study) -> str:
    """Predicts all archs from merged scores."""
    return command_line("rank", save=study.save)


def search_command(study: Study) -> str:
    """Searches the one-shot supernet for the best score."""
    return command_line("search", save=study.save)


def score_command(study: Study, phase: PhaseRecord) -> str:
    """Merges scores if they are there, or else makes them."""
    if phase.unmerged:
        return command_line("merge", save=study.save, phase=phase.name, epoch=phase.unmerged[-1])
    return command_line("test", save=study.save, phase=phase.name)
