"""The commands, and the command lines in messages, which users can paste as they are."""

import shlex

COMMANDS = (
    "fit",
    "make_pool",
    "train_stand_alone",
    "train_supernet",
    "train_few_shot",
    "test",
    "choose",
    "merge",
    "rank",
    "judge",
    "latency",
    "search",
    "finetune",
    "report",
    "export",
    "predict",
    "doctor",
    "cream.search",
    "cream.retrain",
    "cream.test",
    "cream.make_pool",
)

TRAINING_COMMANDS = frozenset(
    (
        "train_stand_alone",
        "train_supernet",
        "train_few_shot",
        "finetune",
        "cream.search",
        "cream.retrain",
    )
)

# The sections of the settings that commands use which train nothing; files may have all of them.
_OF_RUN = ("space", "data", "run")
_USED = {"make_pool": ("space",), "latency": _OF_RUN, "merge": _OF_RUN, "rank": _OF_RUN, "report": _OF_RUN}
_OF_SCORES = ("space", "data", "evaluation", "run")


def uses(command: str, section: str) -> bool:
    """Whether a command makes use of a section of the settings; trainings keep all of them for later commands.

    >>> uses("latency", "data"), uses("latency", "evaluation"), uses("train_supernet", "few_shot")
    (True, False, True)
    """
    return command in TRAINING_COMMANDS or command.startswith("cream.") or section in _USED.get(command, _OF_SCORES)


def command_line(command: str, *settings: str, **options: object) -> str:
    """A line for the shell.

    Args:
        settings: such as `space.preset=cifar`.
        options: without their dashes; options that are None are left out.

    >>> command_line("merge", save="my run", epoch="7")
    "python -m fewshot_nas.merge --save='my run' --epoch=7"
    """
    given = [f"--{name}={shlex.quote(str(value))}" for name, value in options.items() if value is not None]
    return " ".join([f"python -m fewshot_nas.{command}", *given, *map(shlex.quote, settings)])
