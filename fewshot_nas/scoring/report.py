"""What the command `report` does: a run's files are read, and become a page and figures."""

import argparse
from dataclasses import replace

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json, write_text
from fewshot_nas.reporting.gather import gather
from fewshot_nas.reporting.log import read_path_search
from fewshot_nas.reporting.page import render, write_figures
from fewshot_nas.reporting.ranked import read_ranked
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.evaluations import leading_metric
from fewshot_nas.results.found import read_found
from fewshot_nas.results.run import (
    ONE_SHOT,
    ROOT,
    Phase,
    known_phases,
    phase_directory,
    phase_of,
    retrain_directories,
    run_directory,
    run_files,
    search_directory,
    searches,
)
from fewshot_nas.results.scores import OF_TOP
from fewshot_nas.running.options import config_of, following, known_run, training_of
from fewshot_nas.space.pool import read_arch_file


def report(options: argparse.Namespace) -> None:
    """Read a run's files and write the page."""
    print(known_run(options.save))
    cream = read_path_search(search_directory(options.save), retrain_directories(options.save))
    found = _phases(options, phase_of(options.save, options.phase) if options.phase else None, cream is None)
    stored = [directory.config for directory in found.values()]
    config = config_of(options, next((path for path in stored if path.exists()), next(iter(stored), None)))
    space = config.space.build()
    truth_path = config.truth_path(options.save)
    truth = read_arch_file(truth_path, space) if found and truth_path.exists() else {}
    files = {phase.name: directory for phase, directory in found.items()}
    top = run_directory(options.save)
    metric = OF_TOP[options.top] if options.top else leading_metric(list(found.values()))
    study = gather(top.relative_to(ROOT).as_posix(), files, truth, space, metric)
    found_by = {name: read_found(directory.found) for name, directory in searches(options.save).items()}
    ranked = read_ranked(run_files(options.save).ranking, following(options, "rank"))
    answer = run_files(options.save).answer
    answered = read_json(answer) if answer.exists() else None
    study = replace(study, ranked=ranked, searches=found_by, cream=cream, answer=answered)
    out = options.out or run_files(options.save).report
    write_text(out, render(study))
    print(f"report: {out} ({out.stat().st_size / 1e6:.1f} MB)")
    if options.figures:
        for path in write_figures(study, options.figures):
            print(f"figure: {path}")


def _phases(options: argparse.Namespace, only: Phase | None, needed: bool) -> dict[Phase, PhaseDirectory]:
    """The phases of a run that have a log or scores, in order."""
    save, top = options.save, run_directory(options.save)
    wanted = [only] if only else known_phases(save)
    found = {phase: phase_directory(save, phase) for phase in wanted}
    found = {phase: each for phase, each in found.items() if each.log.exists() or each.evaluations()}
    if not found and (needed or only):
        what = f"phase {only.name}" if only else "a phase"
        raise InputError(f"{top}: no log or scores of {what}; `{training_of(options, only or ONE_SHOT)}` trains it")
    return found
