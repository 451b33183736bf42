"""The program ``trio-spool``, also as ``python -m trio_spool``.

Its first act is to say what Ctrl-C does: most of the time of a short command is spent importing modules, and Python would print a
traceback. So this module imports as little as it can: `_signal` is built in, and `signal`, which is made of it, takes longer to
import than everything before it. What comes earlier, the start of Python itself, no program can change.
"""

import os
from _signal import SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found, unused-ignore]

# The exit status that shells show for a program that SIGINT has ended.
INTERRUPTED = 130


def _end_at_once(*_: object) -> None:
    os._exit(INTERRUPTED)


def main() -> None:
    """Run the program, and exit with its status."""
    if getsignal(SIGINT) is default_int_handler:  # where Ctrl-C is ignored, as in the background of a script, it stays so
        signal(SIGINT, _end_at_once)
    from .cli import run_program

    run_program()


if __name__ == "__main__":
    main()
