"""Link to other projects' pages without fetching anything: ``docs/_inventories`` has their inventories, as text.

A line is what ``sphobjinv convert plain objects.inv`` prints: name, role, priority, page, title. When the build says that a
reference target was not found, add its line.
"""

from __future__ import annotations

import zlib
from pathlib import Path

_HEADER = "# Sphinx inventory version 2\n# Project: {name}\n# Version: \n# The remainder of this file is compressed using zlib.\n"


def compiled(name: str) -> str:
    """Make the binary inventory of a project from its text, and return its path."""
    here = Path(__file__).parent.parent
    lines = (here / "_inventories" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    entries = "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))
    path = here / "_build" / "inventories" / f"{name}.inv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_HEADER.format(name=name).encode() + zlib.compress(entries.encode()))
    return str(path)
