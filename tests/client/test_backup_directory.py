"""The directory of a backup: what is resumed, what is dropped, and what gets its name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from trio_spool.client import BackupError, Manifest, ManifestFile, read_manifest
from trio_spool.client._backup_directory import BackupDirectory

CONTENT = b"the content of a file"
FILE = ManifestFile(1, "data.mdb", len(CONTENT), hashlib.sha512(CONTENT).hexdigest())
MANIFEST = Manifest("uuid", (FILE,))
PARTIAL = "data.mdb.partial"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The directory of a backup that was interrupted before its first byte arrived."""
    path = tmp_path / "backup"
    BackupDirectory(path).keep_manifest(MANIFEST)
    return path


@pytest.mark.parametrize(("leftover", "kept"), [(0, 0), (7, 7), (len(CONTENT), len(CONTENT)), (len(CONTENT) + 1, 0)])
@pytest.mark.parametrize("sha512", [FILE.sha512, None])
def test_a_part_is_resumed_unless_it_is_longer_than_the_file(path: Path, leftover: int, kept: int, sha512: str | None) -> None:
    (path / PARTIAL).write_bytes((CONTENT + b"!")[:leftover])
    file = ManifestFile(FILE.id, FILE.path, FILE.size, sha512)
    with BackupDirectory(path).open(file) as partial:
        assert partial.size == kept
        partial.append(CONTENT[kept:])
        assert partial.size == len(CONTENT)
        partial.finish()
    assert (path / FILE.path).read_bytes() == CONTENT
    assert not (path / PARTIAL).exists()


def test_a_part_that_is_wrong_is_removed(path: Path) -> None:
    (path / PARTIAL).write_bytes(b"THE")
    with BackupDirectory(path).open(FILE) as partial:
        partial.append(CONTENT[3:])
        with pytest.raises(BackupError, match=r"data\.mdb did not arrive .* its SHA-512 differs; run this again"):
            partial.finish()
    assert [one.name for one in path.iterdir()] == ["backup.json.partial"]


def test_the_manifest_gets_its_name_at_the_end(path: Path) -> None:
    with pytest.raises(BackupError, match="is not complete"):
        read_manifest(path)
    backup = BackupDirectory(path)
    assert backup.manifest == MANIFEST
    backup.complete()
    assert read_manifest(path) == MANIFEST
    with pytest.raises(BackupError, match="has a complete backup already"):
        BackupDirectory(path)


def test_another_snapshot_drops_the_files_of_the_first(path: Path) -> None:
    (path / FILE.path).write_bytes(CONTENT)
    (path / PARTIAL).write_bytes(CONTENT)
    backup = BackupDirectory(path)
    assert backup.has(FILE)
    backup.keep_manifest(Manifest("other", (FILE,)))
    assert not backup.has(FILE)
    assert [one.name for one in path.iterdir()] == ["backup.json.partial"]
    assert BackupDirectory(path).manifest == Manifest("other", (FILE,))


def test_directories_that_were_made_are_removed_while_they_are_empty(tmp_path: Path) -> None:
    backup = BackupDirectory(tmp_path / "a" / "b")
    backup.remove_empty()
    assert list(tmp_path.iterdir()) == []
    backup = BackupDirectory(tmp_path / "a" / "b")
    backup.keep_manifest(MANIFEST)
    backup.remove_empty()
    assert BackupDirectory(tmp_path / "a" / "b").manifest == MANIFEST
