"""The data directory: whose it is, and whether it can be used."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

from ._errors import DataDirectoryError

MARKER = "trio-spool.json"
FORMAT = 2


def claim_directory(path: Path, engine: str) -> str:
    """Make sure that a directory is there and belongs to an engine; mark one that is new or empty.

    Returns:
        The UUID that the directory was given when it was made.

    Raises:
        DataDirectoryError: It can't be used.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in path.iterdir()}
    except (FileExistsError, NotADirectoryError):
        raise DataDirectoryError(f"{path} is not a directory; name one, or a path where one can be made") from None
    except OSError as exc:
        raise DataDirectoryError(f"can't use the data directory {path}: {exc.strerror}; check who owns it") from exc
    if MARKER in names:
        identity = _read_marker(path, engine)
    elif names - {MARKER + ".new"}:
        raise DataDirectoryError(
            f"{path} is not empty and has no {MARKER}: it is not a data directory of trio-spool; name another, or an empty one"
        )
    else:
        identity = _write_marker(path, engine)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise DataDirectoryError(f"the data directory {path} can't be written to; change its permissions, or name another")
    return identity


def _write_marker(path: Path, engine: str) -> str:
    identity = str(uuid.uuid4())
    content = json.dumps({"format": FORMAT, "engine": engine, "uuid": identity}, indent=1)
    new = path / (MARKER + ".new")
    try:
        with new.open("w") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path / MARKER)
    except OSError as exc:
        raise DataDirectoryError(
            f"can't write to the data directory {path}: {exc.strerror}; change its permissions, or name another"
        ) from exc
    return identity


def _read_marker(path: Path, engine: str) -> str:
    marker = path / MARKER
    try:
        content = json.loads(marker.read_text())
        found_format, found_engine, identity = content["format"], content["engine"], content["uuid"]
        if not (isinstance(found_format, int) and isinstance(found_engine, str) and isinstance(identity, str)):
            raise TypeError
    except OSError as exc:
        raise DataDirectoryError(f"can't read {marker}: {exc.strerror}; check who owns it") from exc
    except (ValueError, KeyError, TypeError):
        raise DataDirectoryError(f"{marker} is not what trio-spool writes; restore it, or name another directory") from None
    if found_format > FORMAT:
        raise DataDirectoryError(
            f"{path} was written by a newer version (format {found_format}; this version reads {FORMAT}); upgrade trio-spool"
        )
    if found_format < FORMAT:
        raise DataDirectoryError(
            f"{path} was written by an older version (format {found_format}; this version reads {FORMAT}); "
            "dump it with that version, and load the dump into a new directory"
        )
    if found_engine != engine:
        raise DataDirectoryError(
            f"{path} belongs to the engine {found_engine!r}, not {engine!r}; choose that engine, or another directory"
        )
    return identity
