"""The program ``trio-spool``, also as ``python -m trio_spool``.

Its first act is to say what Ctrl-C does: most of the time of a short command is spent importing modules, and Python would print a
traceback. So this module imports as little as it can.
"""

import os
import signal

# The exit status that shells show for a program that SIGINT has ended.
INTERRUPTED = 130


def _end_at_once(*_: object) -> None:
    os._exit(INTERRUPTED)


def main() -> None:
    """Run the program, and exit with its status."""
    # Where Ctrl-C is ignored, as in the background of a script, it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)
    from .cli import run_program

    run_program()


if __name__ == "__main__":
    main()
