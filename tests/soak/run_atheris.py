"""Fuzz one target with atheris: ``python tests/soak/run_atheris.py NAME CORPUS [OPTION OF LIBFUZZER ...]``.

CORPUS is a directory, to which the examples are added, and what is found. It ends at the first failure, or after ``-max_total_time``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["trio_spool"]):
    from support.fuzz_targets import TARGETS


def main() -> None:
    """Do it."""
    name, corpus = sys.argv[1], Path(sys.argv[2])
    target = TARGETS[name]
    for number, example in enumerate(target.examples):
        (corpus / f"example{number}").write_bytes(example)
    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[3:]], target.feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
