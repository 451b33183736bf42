"""The directory of a backup: what is resumed, what is dropped, and what gets its name."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from trio_spool.client import BackupError, ConnectionLostError, Manifest, ManifestFile, parse_manifest, read_manifest
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


# A directory that somebody else may have had a hand in


@pytest.mark.parametrize("name", ["backup.json.partial", PARTIAL, FILE.path])
def test_links_are_not_followed(path: Path, tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(CONTENT)
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(precious)
    with pytest.raises((BackupError, OSError), match=r"is a symbolic link|is not the file"):
        backup = BackupDirectory(path)
        backup.has(FILE)
        backup.open(FILE)
    assert precious.read_bytes() == CONTENT


def test_the_manifest_of_another_snapshot_follows_no_link(path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(CONTENT)
    backup = BackupDirectory(path)
    (path / "backup.json.partial").unlink()
    (path / "backup.json.partial").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        backup.keep_manifest(MANIFEST)
    assert precious.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [0, len(CONTENT) + 1])
def test_a_file_of_another_size_is_not_taken_for_a_complete_one(path: Path, size: int) -> None:
    (path / FILE.path).write_bytes(bytes(size))
    with pytest.raises(BackupError, match=r"is not the file of 21 bytes that was copied; remove the directory"):
        BackupDirectory(path).has(FILE)


def test_a_fifo_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path / PARTIAL)
    with pytest.raises(OSError, match="not a regular file"):
        BackupDirectory(path).open(FILE)
    (path / "backup.json.partial").rename(path / "backup.json")
    (path / "backup.json").unlink()
    os.mkfifo(path / "backup.json")
    with pytest.raises(BackupError, match=r"can't read .*backup\.json: it is not a regular file"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "backup.json"}, "needs itself"),
        ({"path": "BACKUP.json"}, "needs itself"),
        ({"path": "backup.json.partial"}, "needs itself"),
        ({"path": "x.Partial"}, "needs itself"),
        ({"path": "n" * 101}, "not a plain name"),
        ({"path": ".hidden"}, "not a plain name"),
        ({"path": "-rf"}, "not a plain name"),
        ({"path": "a/b"}, "not a plain name"),
        ({"path": "a\n"}, "not a plain name"),
        ({"path": "\u00e4"}, "not a plain name"),
        ({"path": "x\x00y"}, "not a plain name"),
        ({"path": None}, "file twice"),
        ({"id": -1}, "other than the manifest"),
        ({"size": "1" * 30}, "other than the manifest"),
        ({"size": "1" * 5000}, "other than the manifest"),
        ({"size": float("inf")}, "other than the manifest"),
        ({"sha512": "00"}, "other than the manifest"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_a_manifest_can_not_say(change: dict[str, object], message: str) -> None:
    file = {"id": 1, "path": "data.mdb", "size": "1"}
    files = [file, {**file, "path": "DATA.MDB"}] if change == {"path": None} else [{**file, **change}]
    with pytest.raises(ConnectionLostError, match=message):
        parse_manifest(json.dumps({"uuid": "u", "files": files}))


@pytest.mark.parametrize("uuid", ["", "u" * 300, "a b", "\x1b[2J", "\n"])
def test_names_that_a_snapshot_can_not_have(uuid: str) -> None:
    with pytest.raises(ConnectionLostError, match="other than the manifest"):
        parse_manifest(json.dumps({"uuid": uuid, "files": [{"id": 1, "path": "data.mdb", "size": "1"}]}))


def test_manifests_are_bounded() -> None:
    files = [{"id": 1, "path": f"f{number}", "size": "1"} for number in range(1001)]
    for text in (json.dumps({"uuid": "u", "files": files}), b" " * (1024 * 1024 + 1), b"[" * 100_000):
        with pytest.raises(ConnectionLostError, match="other than the manifest"):
            parse_manifest(text)
