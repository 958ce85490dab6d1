"""`python -m fewshot_nas`: the list of commands; `python -m fewshot_nas COMMAND ...` runs one."""

import ast
import importlib
import sys
from collections.abc import Sequence

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.cli.names import COMMANDS
from fewshot_nas.records.files import PACKAGE


def main(argv: Sequence[str] | None = None) -> int:
    """List the commands, or run the one that the first argument names."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: fewshot-nas COMMAND [ARGUMENT ...]    (or: python -m fewshot_nas.COMMAND)\n")
        for command in COMMANDS:
            print(f"  {command:18} {_summary(command)}")
        return 0
    if arguments[0] not in COMMANDS:
        raise InputError(f"{arguments[0]!r} is not a command, expected one of {', '.join(COMMANDS)}")
    command_main = importlib.import_module(f"fewshot_nas.{arguments[0]}").main
    return int(command_main(arguments[1:]))


def console() -> int:
    return run(main)


def _summary(command: str) -> str:
    # The first line of the module's docstring, from the source: `python -OO` has no docstrings.
    source = (PACKAGE / command.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(console())
