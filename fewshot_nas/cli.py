"""What every command shares: how a mistake of the user's ends, and how ids are listed."""

import sys
from collections.abc import Callable, Sequence

from fewshot_nas.errors import InputError

Main = Callable[[Sequence[str] | None], int]


def run(main: Main, argv: Sequence[str] | None = None) -> int:
    """Call a command's main; a wrong input becomes one line on standard error and status 2.

    Ctrl-C ends with status 130, as shells expect, and without a traceback.
    """
    try:
        return main(argv)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
