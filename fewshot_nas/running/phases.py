"""The phases of a run: the one-shot supernet; its splits, each of which trains on; and another choice of an epoch."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import named_part
from fewshot_nas.distributed import joined
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.models.subnet import inherit
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import locked, sha256
from fewshot_nas.records.journal import refuse_difference
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.run import ONE_SHOT, SEARCH, Phase, phase_directory, phase_of, phases, run_directory
from fewshot_nas.results.scores import TITLES, read_manifest
from fewshot_nas.running.images import refuse_other_images
from fewshot_nas.running.options import config_of, following, run_config, training_of
from fewshot_nas.running.run import Run, seed_weights, start_facts, started
from fewshot_nas.running.supernets import SupernetTraining, Truth, choose_anew, measured_epochs
from fewshot_nas.space.space import Space
from fewshot_nas.space.split import MAX_GROUPS, Split, by_choice, by_width
from fewshot_nas.training.log import RunLog

_RULES: Mapping[str, Any] = {"width": by_width, "choice": by_choice, "none": None}


def train_supernet(options: argparse.Namespace) -> None:
    """Train phase 1 of a run, into results/<save>/."""
    config, directory = run_config(options), phase_directory(options.save, ONE_SHOT)
    with joined(options.device, config.run) as world:
        run, settings = Run.asked(options, config, world), config.training

        def start() -> Supernet:
            if path := settings.start:
                supernet = started(run, path).supernet
                if supernet.split != by_width(run.space, 1):
                    hint = "train_few_shot --pretrained_path goes on with it, on the same classes"
                    raise InputError(f"{path}: a supernet with {supernet.split.groups} groups, expected 1; {hint}")
            else:
                seed_weights(config.run.seed)
                supernet = Supernet(by_width(run.space, 1), run.data.num_classes)
            supernet.two_sided = settings.two_sided
            return supernet

        facts = start_facts(settings)
        SupernetTraining(run=run, directory=directory, settings=settings, start=start, facts=facts).carry_out()


# ---- a few-shot phase: which supernet is split, and by what ----------------------------------------------------------


def train_few_shot(options: argparse.Namespace) -> None:
    """Train one phase of a run, into results/<save>/<phase>/."""
    path = _parent_path(options)
    stored = PhaseDirectory(path.parent).config
    config = run_config(options, stored)
    with joined(options.device, config.run) as world:
        run = Run.asked(options, config, world, stored)
        parent = load_supernet(path)
        _check(parent, path, options.resumed_split_groups, run)
        split = _split(options, parent.split)
        if parent.two_sided and split != parent.split:
            raise InputError(
                f"{path}: a supernet of two sides cannot be split, because a group has first channels only;"
                " --split_by=none trains it on, and without training.two_sided it can be"
            )
        phase = Phase(split.name, parent.split.name)
        run.report(f"phase {phase.name}: {_said(options, split)}, split from {path}")
        facts = {**split.values(), "parent": {"path": str(path), "sha256": sha256(path)}}
        SupernetTraining(
            run=run,
            directory=phase_directory(options.save, phase),
            settings=config.few_shot,
            start=lambda: parent if split == parent.split else inherit(parent, split),
            facts=facts,
        ).carry_out()


def _split(options: argparse.Namespace, parent: Split) -> Split:
    """The split of the new phase: a rule applied within the parent's split."""
    space, rule = parent.space, options.split_by
    if rule == "none":
        return replace(parent, name="on" if parent.name == "1" else f"{parent.name}-on")
    if rule == "width":
        wanted = by_width(space, options.group_nums)
        return wanted if parent.by_width else wanted.within(parent)
    if rule == "choice":
        return _by_choice(options, space).within(parent)
    found = named_part(rule, _RULES, "--split_by")(space)
    word = re.sub("[^a-z0-9]", "", rule.partition(":")[2].lower())
    if not isinstance(found, Split) or found.space != space or not word:
        raise InputError(f"--split_by is {rule!r}, expected a function whose name has letters and that makes a Split")
    return replace(found, name=f"own{word}").within(parent)


def _by_choice(options: argparse.Namespace, space: Space) -> Split:
    return by_choice(space, [name.strip() for name in options.slots.split(",")])


def _said(options: argparse.Namespace, split: Split) -> str:
    if options.split_by == "choice":  # of choices with tensors of their own each is split, so stages have more groups
        return f"{_by_choice(options, split.space).groups} groups by {options.slots}"
    counts = split.counts()
    return f"{split.name} groups" if split.by_width else f"{', '.join(map(str, counts))} groups by stage"


def _read_phase(options: argparse.Namespace) -> None:
    """Read `--phase` as a number of groups, or as such a number and the parent's: `3_from_2`."""
    options.group_nums = None
    if options.phase is None:
        return
    match = re.fullmatch(r"(\d{1,3})(?:_from_(\d{1,3}))?", options.phase)
    if not match:
        raise InputError(f"--phase is {options.phase!r}, expected 2..{MAX_GROUPS} groups, or such as 3_from_2")
    options.group_nums = int(match[1])
    if match[2] and options.resumed_split_groups not in (None, int(match[2])):
        raise InputError(
            f"--phase is {options.phase!r}, but --resumed_split_groups {options.resumed_split_groups}; leave one out"
        )
    options.resumed_split_groups = int(match[2]) if match[2] else options.resumed_split_groups


def _parent_path(options: argparse.Namespace) -> Path:
    """The supernet to split: the one that was named, or that of the last phase with fewer groups."""
    _read_phase(options)
    _check_options(options)
    given = [path for path in (options.pretrained_path, options.split_model_path) if path]
    if len(given) > 1:
        raise InputError("--pretrained_path and --split_model_path both name a supernet to split, expected one of them")
    if given:
        return Path(given[0])
    wanted = options.resumed_split_groups
    # A Cream search ends with a supernet of one group.
    groups = {phase: 1 if phase == SEARCH else phase.split for phase in phases(options.save)}
    known = {phase: int(count) for phase, count in groups.items() if str(count).isdigit()}
    if options.split_by == "width" and options.group_nums:
        known = {phase: count for phase, count in known.items() if count < options.group_nums}
    if wanted is not None:
        known = {phase: count for phase, count in known.items() if count == wanted}
    if not known:
        count = wanted or (f"fewer than {options.group_nums}" if options.group_nums else "")
        raise InputError(
            f"{run_directory(options.save)}: no finished phase{count and f' with {count} groups'};"
            f" `{following(options, 'train_supernet')}` trains the first,"
            " or name a supernet with --pretrained_path or --split_model_path"
        )
    return phase_directory(options.save, list(known)[-1]).chosen


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that do not say one split."""
    named_part(options.split_by, _RULES, "--split_by")
    if (options.group_nums is not None) != (options.split_by == "width"):
        raise InputError("expected --group_nums for a split by width, and only there")
    if (options.slots is not None) != (options.split_by == "choice"):
        raise InputError("expected --slots for --split_by=choice, and only there")
    if options.group_nums is not None and not 2 <= options.group_nums <= MAX_GROUPS:
        raise InputError(f"--phase (--group_nums) is {options.phase}, expected 2..{MAX_GROUPS} groups")


def _check(parent: Supernet, path: Path, groups: int | None, run: Run) -> None:
    """Refuse a parent that does not fit the phase."""
    theirs, ours = (
        {"space": {key: value for key, value in space.values().items() if key != "name"}, "classes": classes}
        for space, classes in ((parent.space, parent.num_classes), (run.space, run.data.num_classes))
    )
    theirs |= {"groups": parent.split.groups}
    ours |= {} if groups is None else {"groups": groups}
    remedy = "name a supernet of the run's settings, or change these"
    refuse_difference(f"{path} is a supernet with", theirs, ours, remedy)
    refuse_other_images(path, parent.trained_on, run.data)


# ---- the epoch, chosen anew ------------------------------------------------------------------------------------------


def choose(options: argparse.Namespace) -> None:
    """Rank the ground truth with each kept checkpoint, and make the best one the phase's supernet."""
    phase = phase_of(options.save, options.phase)
    directory = phase_directory(options.save, phase)
    _refuse_unfinished(options, phase, directory)
    config = config_of(options, directory.config)

    before = sha256(directory.chosen)
    with joined(options.device, config.run) as world, locked(directory.lock, wait=False):
        words = f"run {directory.path} (choosing anew)"
        running = Run(save=options.save, config=config, world=world, resume=True, report=print, words=words)
        known = read_manifest(directory.manifest).get("data", {})
        begun = {key: value for key, value in known.items() if key != "valid"}  # may be ranked on other images
        refuse_other_images(directory.path, begun, running.data)
        truth = Truth.read(config.truth_path(options.save), running.space)
        if not truth.entries:
            make = following(options, "train_stand_alone", target_arch_num="all")
            raise InputError(f"{truth.path}: no such file, so there is nothing to choose by; `{make}` makes one")
        epochs = measured_epochs(directory, truth, running.inputs(running.data.valid))
        for each in epochs:
            print(
                f"epoch {each.candidate.epoch + 1}: tau by {TITLES[each.candidate.metric]} {each.tau.text()},"
                f" {len(truth.entries)} archs of {truth.path}"
            )
        with RunLog(directory.log, directory.events) as log:
            print(choose_anew(directory, epochs, truth, log))
    if sha256(directory.chosen) == before:
        print("the phase's supernet is the same as before")
    else:
        score = following(options, "test", phase=phase.name)
        print(f"the phase's supernet has changed: `{score}` scores with it; phases split from it are of the old one")


def _refuse_unfinished(options: argparse.Namespace, phase: Phase, directory: PhaseDirectory) -> None:
    if not directory.chosen.exists() or not directory.manifest.exists():
        finished = ", ".join(each.name for each in phases(options.save)) or "none"
        raise InputError(
            f"{directory.path}: is not a phase that was trained to its end here; finished are: {finished}"
            f" of {run_directory(options.save)}; `{training_of(options, phase)}` trains it"
        )
