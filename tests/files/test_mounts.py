"""Network file systems, as the table of mounts tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_spool._files import network_file_system

TABLE = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:40 / {root}/nfs rw,relatime shared:1 - nfs4 server:/export rw,vers=4.2
31 30 254:1 / {root}/nfs/local rw,relatime - xfs /dev/vdb rw
32 27 0:41 / {root}/with\\040blank\\134 rw,relatime shared:2 master:3 - cifs //server/share rw
33 27 0:42 / {root}/hidden rw,relatime - 9p share rw
34 27 254:2 / {root}/hidden rw,relatime - btrfs /dev/vdc rw
35 27 0:43 / {root}/fuse rw - fuse.sshfs host: rw
36 27 0:44 / {root}/local rw - fuse.fuseblk /dev/sda1 rw
a line that is none

37 27 0:45 / {root}/smb rw - smb3 //server/share rw
"""


@pytest.fixture
def find(tmp_path):
    table = tmp_path / "mountinfo"
    table.write_text(TABLE.format(root=tmp_path))
    return lambda path: network_file_system(tmp_path / path, table)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("nfs", "nfs4"),
        ("nfs/deep/down", "nfs4"),
        ("nfs/../nfs", "nfs4"),
        ("nfs/local", None),
        ("nfs/local/data", None),
        ("nfs/locally", "nfs4"),
        ("nfsx", None),
        ("with blank\\/data", "cifs"),
        ("hidden/data", None),
        ("fuse/data", "fuse.sshfs"),
        ("local/data", None),
        ("smb/data", "smb3"),
        ("data", None),
        ("/", None),
        ("/nowhere/at/all", None),
    ],
)
def test_the_innermost_mount_counts(find, path: str, kind: str | None) -> None:
    assert find(path) == kind


def test_links_are_followed(find, tmp_path) -> None:
    (tmp_path / "nfs").mkdir()
    (tmp_path / "link").symlink_to("nfs")
    assert find("link/data") == "nfs4"


def test_a_system_without_a_table(tmp_path) -> None:
    assert network_file_system(tmp_path, tmp_path / "none") is None
    assert network_file_system(tmp_path, tmp_path) is None


def test_this_system() -> None:
    assert network_file_system(Path("/proc/self")) is None
