"""Which kind of file system a path is on, as Linux says it. Other systems don't say, and nothing is known there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
# Those on which a file may change under another machine's hands, or where locks and mapped files are not what a local disk makes of
# them. The first part of a FUSE type is "fuse"; only the second one says what it is.
_NETWORK = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.davfs2", "fuse.gcsfuse",
        "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
        "orangefs", "pvfs2", "smb3", "smbfs",
    }
)  # fmt: skip
_ESCAPE = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return the type of the network file system that a path is on, such as ``nfs4``; None if it is on a local one.

    Args:
        path: A file or directory, which may not exist yet.
        mounts: The table of mounts; if there is none, every file system passes for a local one.
    """
    try:
        table = mounts.read_text(errors="surrogateescape")
    except OSError:
        return None
    resolved = path.resolve()
    depth, kind = -1, ""
    for point, found in _parse(table):
        # Of several at one point, the last one hides the others.
        if len(point.parts) >= depth and (point == resolved or point in resolved.parents):
            depth, kind = len(point.parts), found
    return kind if kind in _NETWORK else None


def _parse(table: str) -> Iterator[tuple[Path, str]]:
    """Yield the point and the type of each mount."""
    for line in table.split("\n"):
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) >= 5:
            yield Path(_ESCAPE.sub(lambda escape: chr(int(escape[1], 8)), fields[4])), after.split(" ")[0]
