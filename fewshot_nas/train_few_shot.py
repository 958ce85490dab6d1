"""Split a trained supernet into more groups and train it on: one few-shot phase."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run
from fewshot_nas.cli.names import named_part
from fewshot_nas.records.files import sha256
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.run import SEARCH, Phase, phase_directory, phases, run_directory
from fewshot_nas.running.options import add_phase_option, add_run_options, following, run_config
from fewshot_nas.space.space import Space
from fewshot_nas.space.split import MAX_GROUPS, Split, by_choice, by_width

if TYPE_CHECKING:
    from fewshot_nas.models.supernet import Supernet
    from fewshot_nas.running.run import Run

_RULES: Mapping[str, Any] = {"width": by_width, "choice": by_choice, "none": None}


def main(argv: Sequence[str] | None = None) -> int:
    """Train one phase of a run, into results/<save>/<phase>/."""
    options = _parser().parse_intermixed_args(argv)
    path = _parent_path(options)
    stored = PhaseDirectory(path.parent).config
    config = run_config(options, stored)
    from fewshot_nas.distributed import joined
    from fewshot_nas.models.checkpoint import load_supernet
    from fewshot_nas.models.subnet import inherit
    from fewshot_nas.running.run import Run
    from fewshot_nas.running.supernets import SupernetTraining

    with joined(options.device, config.run) as world:
        run = Run.asked(options, config, world, stored)
        parent = load_supernet(path)
        _check(parent, path, options.resumed_split_groups, run)
        split = _split(options, parent.split)
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
    return 0


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
        wish = wanted or f"fewer than {options.group_nums or MAX_GROUPS + 1}"
        raise InputError(
            f"{run_directory(options.save)}: no finished phase with {wish} groups;"
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


def _check(parent: "Supernet", path: Path, groups: int | None, run: "Run") -> None:
    """Refuse a parent that does not fit the phase."""
    from fewshot_nas.running.images import refuse_other_images

    theirs, ours = parent.space.values(), run.space.values()
    facts = (
        *((f"space.{key}", theirs.get(key), ours[key]) for key in ours if key != "name"),
        ("number of classes", parent.num_classes, run.data.num_classes),
        ("number of groups", parent.split.groups, parent.split.groups if groups is None else groups),
    )
    for name, found, expected in facts:
        if found != expected:
            raise InputError(f"{path}: the supernet's {name} is {found}, expected {expected}")
    refuse_other_images(path, parent.trained_on, run.data)


def _parser() -> Parser:
    parser = Parser(
        prog="fewshot_nas.train_few_shot",
        description=f"{__doc__ or ''} Without a parent's path, the last phase of the same --save is split.",
    )
    add_phase_option(parser, None, f"none; a phase to train has 2..{MAX_GROUPS} groups")
    parser.add_argument(
        "--split_by",
        default="width",
        metavar="RULE",
        help="what groups differ in: width (default), choice, none (the parent is trained on as it is), or module:name,"
        " a function of your own that makes a Split of a space",
    )
    parser.add_argument("--slots", metavar="NAME,NAME", help="choices to split by, such as '0 block 1'")
    parser.add_argument("--pretrained_path", type=Path, metavar="FILE", help="one-shot supernet to split")
    parser.add_argument("--split_model_path", type=Path, metavar="FILE", help="few-shot supernet to split")
    parser.add_argument("--resumed_split_groups", type=int, metavar="P", help="groups that the parent has")
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
