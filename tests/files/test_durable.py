"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import stat

import pytest

from support.system_calls import system_calls
from trio_spool._files import make_directories, open_replacement, replace_durably, sync_directory, sync_file


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode_of(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_content_is_synced_before_the_name_and_the_name_after(tmp_path) -> None:
    with system_calls() as called, open_replacement(tmp_path / "file") as file:
        file.write(b"new")
    assert called == ["open", "fsync", "replace", "open", "fsync"]
    assert os.listdir(tmp_path) == ["file"]


def test_replace(tmp_path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    with system_calls() as called:
        replace_durably(source, target)
    assert called == ["replace", "open", "fsync"]
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["target"]
    with pytest.raises(FileNotFoundError):
        replace_durably(source, target)


def test_sync_writes_what_is_buffered(tmp_path) -> None:
    with (tmp_path / "file").open("w") as file:
        file.write("text")
        with system_calls() as called:
            sync_file(file)
        assert (tmp_path / "file").read_text() == "text"
    assert called == ["fsync"]


def test_only_directories_are_synced_as_such(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "none")


def test_until_the_block_ends_the_old_file_is_there(tmp_path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with open_replacement(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
        assert len(os.listdir(tmp_path)) == 2
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path, error) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(error), open_replacement(target) as file:
        file.write(b"new")
        raise error
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_target_that_can_not_be_replaced(tmp_path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError), open_replacement(tmp_path / "file") as file:
        file.write(b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_a_partial_file_that_was_left_behind_is_overwritten(tmp_path) -> None:
    partial = tmp_path / "file.partial"
    partial.write_bytes(b"left behind")
    with open_replacement(tmp_path / "file", partial=partial) as file:
        assert partial.read_bytes() == b""
        file.write(b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_link_is_not_followed_for_the_partial_file(tmp_path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "file.partial").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic links"), open_replacement(tmp_path / "file", partial=tmp_path / "file.partial"):
        raise AssertionError("it was opened")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_link_stays_one(tmp_path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    for content in (b"first", b"second"):
        with open_replacement(tmp_path / "link") as file:
            file.write(content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "there" / "file").read_bytes() == content


def test_a_full_disk_leaves_what_was_there(tmp_path) -> None:
    """Also if the disk is full in the middle of a write, which is then no error yet to the system."""
    target = tmp_path / "file"
    target.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError) as caught, open_replacement(target) as file:
            file.write(b"new" * 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_unbuffered(tmp_path) -> None:
    with open_replacement(tmp_path / "file", partial=tmp_path / "partial", buffering=0) as file:
        assert file.write(b"new") == 3
        assert (tmp_path / "partial").read_bytes() == b"new"


def test_mode(tmp_path, umask) -> None:
    for name, options, expected in [("default", {}, 0o644), ("private", {"mode": 0o600}, 0o600)]:
        with open_replacement(tmp_path / name, **options):
            pass
        assert mode_of(tmp_path / name) == expected


def test_directories_are_made_and_each_name_is_synced(tmp_path) -> None:
    with system_calls() as called:
        assert make_directories(tmp_path / "a" / "b" / "c")
    # From below, until one exists; then each is made, and its name is synced, before the next one.
    assert called == ["mkdir"] * 3 + ["open", "fsync", "mkdir"] * 2 + ["open", "fsync"]
    with system_calls() as called:
        assert not make_directories(tmp_path / "a" / "b" / "c")
    assert called == ["mkdir"]


def test_what_is_no_directory_is_not_made_one(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_directories(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        make_directories(tmp_path / "file" / "below")


def test_a_link_to_a_directory_is_one(tmp_path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert not make_directories(tmp_path / "link")
    assert make_directories(tmp_path / "link" / "below")
    (tmp_path / "dangling").symlink_to("none")
    with pytest.raises(FileExistsError):
        make_directories(tmp_path / "dangling")
