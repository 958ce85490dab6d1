"""Networks trained alone: from scratch, for a ground truth or for themselves, or from weights that are there."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import read_numbers
from fewshot_nas.distributed import joined
from fewshot_nas.models.start import read_held
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import sha256
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.found import read_best
from fewshot_nas.results.run import phase_directory, phase_of, run_files, stored_settings
from fewshot_nas.running.networks import FineTuning, GroundTruth, StandAlone, train_all
from fewshot_nas.running.options import run_config
from fewshot_nas.running.run import Run
from fewshot_nas.space.pool import changed_settings, id_beside, read_pool
from fewshot_nas.space.space import Arch, Space

TRUTH_ARCHS = 30  # archs in a ground truth
_EXPECTED = "a number such as 1, a list such as 1,5,9, a range such as 1-30, all, or a code"

# What moved networks to 100 images of each of five other classes best (studies/transfer), unless settings are given.
MOVED = ("finetune.lr=0.1", "finetune.epochs=30")


def train_stand_alone(
    options: argparse.Namespace, on_ray: Callable[[Sequence[StandAlone]], None] | None = None
) -> None:
    """Train the archs that the ground truth does not have with this seed, or one network for itself.

    Args:
        on_ray: trains on Ray, if the options ask for that.
    """
    best = read_best(options.from_search, options.save) if options.from_search else None
    searched = PhaseDirectory(best.model.parent).config if best else None
    config = run_config(options, searched)
    space, text = config.space.build(), best.code if best else options.target_arch_num
    # A code names a network to be used, such as a search's best; numbers name archs of a ground truth.
    own = None if _is_code(text, space) else run_files(options.save).ground_truth
    path = options.ground_truth or own
    if on_ray and options.plan:
        raise InputError("--plan measures on this machine; leave out --executor ray")
    if on_ray and path is None:
        raise InputError("--executor ray is for a ground truth; a code is trained here, or give --ground_truth FILE")
    if options.no_test and path is not None:
        raise InputError("--no_test is for one network by its code; a ground truth has accuracies on the test images")
    # A code that joins no ground truth needs no pool, and most spaces have none.
    parts = read_pool(config.run.pool_path, space) if path else []
    pool = {arch_id: arch for part in parts for arch_id, arch in part.items()}
    chosen = dict(_selected(text, pool, space, in_truth=path is not None))
    if best and path is None:
        chosen = dict(zip([best.search], chosen.values(), strict=True))
    with joined("cpu" if on_ray else options.device, config.run) as world:
        run = Run.asked(options, config, world, searched)
        truth = GroundTruth(path) if path else None
        tests = not options.no_test
        trainings = [StandAlone.of(run, arch_id, arch, truth, tests=tests) for arch_id, arch in chosen.items()]
        if on_ray:
            on_ray(trainings)
        else:
            train_all(trainings)


def _selected(text: str, pool: dict[str, Arch], space: Space, *, in_truth: bool) -> Iterator[tuple[str, Arch]]:
    """The archs that `--target_arch_num` names, with their ids.

    Args:
        in_truth: whether they are for a ground truth, which knows archs by the pool's ids.
    """
    if _is_code(text, space):
        arch = space.decode(text)
        known = (arch_id for arch_id, each in pool.items() if in_truth and each == arch)
        yield next(known, id_beside(space.encode(arch))), arch
        return
    if text == "all":
        yield from islice(pool.items(), TRUTH_ARCHS)
        return
    for number in read_numbers("--target_arch_num", text, _EXPECTED, len(pool)):
        if f"arch{number}" not in pool:
            raise InputError(f"--target_arch_num names arch{number}, but the pool has {len(pool)} archs")
        yield f"arch{number}", pool[f"arch{number}"]


def _is_code(text: str, space: Space) -> bool:
    return text.startswith("[") or (len(text) >= space.code_length - 1 and text.isdigit())


# ---- from the weights of a supernet, or of a file --------------------------------------------------------------------


def finetune(options: argparse.Namespace) -> None:
    """Train an arch on, and write its network and its accuracies."""
    if options.source:
        _transfer(options)
        return
    if options.arch is None and options.from_search is None:
        raise InputError("expected --arch, --from_search or --from, which say what is trained")
    code, model, name = _chosen(options)
    stored = PhaseDirectory(model.parent).config
    config = run_config(options, stored)
    arch = config.space.build().decode(code)
    if not model.exists():
        raise InputError(f"{model}: no such file, so there are no weights to inherit; train_stand_alone needs none")

    with joined(options.device, config.run) as world:
        FineTuning.of(Run.asked(options, config, world, stored), name, arch, model).carry_out()


def _transfer(options: argparse.Namespace) -> None:
    """Train a network of a file on the images of the settings; its space is the file's, if that says one."""
    if options.from_search or options.phase or options.model_name:
        raise InputError("--from names a file, so leave out --from_search, --phase and --model_name")

    held = read_held(options.source)
    arch = held[2] if isinstance(held, tuple) else None
    space = held[1] if isinstance(held, tuple) else held.space if isinstance(held, Supernet) else None
    if not options.config and not stored_settings(options.save):
        options.overrides = [*MOVED, *(changed_settings(space) if space else ()), *options.overrides]
    config = run_config(options)
    ours = config.space.build()
    if options.arch is not None or arch is None or space is None or space.slots != ours.slots:
        arch = ours.largest if options.arch is None else ours.decode(options.arch)
    with joined(options.device, config.run) as world:
        run = Run.asked(options, config, world)
        name = f"from_{options.source.stem}_{ours.encode(arch)}"
        FineTuning.of(run, name, arch, options.source, transfers=True).carry_out()


def _chosen(options: argparse.Namespace) -> tuple[str, Path, str]:
    """An arch's code, the file of the supernet with its weights, and the name of its training."""
    best = read_best(options.from_search, options.save) if options.from_search else None
    if best and not (options.phase or options.model_name):
        if best.model.exists() and sha256(best.model) != best.model_sha256:
            found = f"searched another {best.model} than the one there is now"
            raise InputError(f"{options.from_search}: {found}; search anew")
        return best.code, best.model, best.search
    phase = phase_of(options.save, options.phase or "1")
    model = phase_directory(options.save, phase).model(options.model_name or "supernet")
    return (best.code, model, best.search) if best else (options.arch, model, f"{phase.name}_{options.arch}")
