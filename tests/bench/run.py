"""Run the benchmarks: ``python tests/bench/run.py [--quick] [--publish] [NAME ...]``. Prints a table; writes bench-results/.

With ``--publish``, the figures take the place of those in the documentation and in the README.
"""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path

import publish
from report import Row, print_rows, write

NAMES = (
    "handover",
    "first_fragment",
    "manners",
    "memory",
    "commands",
    "text",
    "cache",
    "scans",
    "beside",
    "documents",
    "fragments",
    "scan_memory",
    "sdk",
    "asgi",
    "wsgi",
)


def main() -> None:
    """Run those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all of them, if none is named")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer runs, to see that it works")
    parser.add_argument("--publish", action="store_true", help="put the figures into docs/figures and the README's table")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    os.environ.setdefault("TRIO_SPOOL_LOG_LEVEL", "warning")  # the servers' lines about their beginning and end are in the way
    rows: list[Row] = []
    for name in arguments.names or NAMES:
        measured = importlib.import_module(name).run(arguments.quick)
        print_rows(measured)
        rows += measured
        if arguments.publish:  # each benchmark at once: what was measured is kept if a later one fails
            publish.merge({name: measured}, arguments.quick)
    write(rows, Path("bench-results"))
    if arguments.publish:
        publish.main()


if __name__ == "__main__":
    main()
