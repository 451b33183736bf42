"""Compressed files: read whatever their name, since nothing else begins as they do, and written if the name ends in .gz or .zst.

Both are streamed, so no file is ever in memory as a whole.
"""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any, Final

from .._files import explain
from ._errors import FileError
from ._output import write_in_thread

# What compressed data begin with, and what messages call them.
_MAGIC: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
SUFFIXES: Final = {".gz": "gzip", ".zst": "zstd"}
_GZIP_WINDOW: Final = 31  # zlib's largest window, and the header and trailer of gzip


def inner_suffix(path: Path) -> str:
    """Return how the name of a file ends, in lower case, without the ending that says how it is compressed."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in SUFFIXES else suffix


def unpack(file: Any, name: str, suffix: str) -> Any:
    """Return the content of a file, decompressed if it is compressed. Several compressed parts one after the other are one content.

    Args:
        file: The file, at its beginning: an `io.BufferedReader`, which the result is as well.
        name: What messages call it.
        suffix: How its name ends, by which an empty file is damaged.

    Raises:
        FileError: Now or while it is read: the file can't be read, or is damaged or cut off.
    """
    try:
        begin = file.peek(4)[:4]
    except OSError as exc:
        raise FileError(f"can't read {name}: {explain(exc)}") from None
    kind = next((kind for magic, kind in _MAGIC.items() if begin.startswith(magic)), None)
    if kind is None:
        wanted = SUFFIXES.get(suffix)
        if not begin and wanted:
            raise FileError(f"{name} is empty, which is not {wanted} data; get it again")
        if wanted and any(magic.startswith(begin) for magic, kind in _MAGIC.items() if kind == wanted):
            raise _cut_off(name, wanted)
        return file
    if kind == "gzip":
        import gzip

        return io.BufferedReader(_Unpacked(gzip.GzipFile(fileobj=file, mode="rb"), zlib.error, name, kind))
    zstd = _zstd()
    return io.BufferedReader(_Unpacked(zstd.ZstdFile(file), zstd.ZstdError, name, kind))


def _zstd() -> Any:
    """Return the module for zstd, which the standard library has from Python 3.14 on."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _cut_off(name: str, kind: str) -> FileError:
    return FileError(f"{name} is cut off: its {kind} data end in the middle; get the whole file")


class _Unpacked(io.RawIOBase):
    """What a decompressor makes, with errors for users.

    Args:
        file: The decompressor, which is a file.
        error: What it raises for damaged data.
        name: The name of the compressed file, for messages.
        kind: How it is compressed.
    """

    def __init__(self, file: Any, error: type[Exception], name: str, kind: str) -> None:
        super().__init__()
        self._file = file
        self._error = error
        self._name = name
        self._kind = kind

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return int(self._file.readinto(buffer))
        except EOFError:
            raise _cut_off(self._name, self._kind) from None
        except OSError as exc:
            if exc.errno is not None:
                raise FileError(f"can't read {self._name}: {explain(exc)}") from None
            raise self._damaged(exc) from None
        except self._error as exc:
            raise self._damaged(exc) from None

    def _damaged(self, error: Exception) -> FileError:
        return FileError(f"{self._name} is damaged: its {self._kind} data can't be read ({error}); get it again")


@contextmanager
def packed(out: RawIOBase, suffix: str) -> Iterator[RawIOBase]:
    """Compress what is written to a file in the block, if its name ends in .gz or .zst.

    If the block raises, the data are left without their end, so that nobody takes them for complete.
    """
    kind = SUFFIXES.get(suffix)
    if kind is None:
        yield out
        return
    compressor = zlib.compressobj(wbits=_GZIP_WINDOW) if kind == "gzip" else _zstd_compressor()
    yield _Packed(out, compressor)
    write_in_thread(out, compressor.flush())


def _zstd_compressor() -> Any:
    """Return a compressor that adds a checksum, as zstd's own program does. gzip always has one."""
    zstd = _zstd()
    return zstd.ZstdCompressor(options={zstd.CompressionParameter.checksum_flag: 1})


class _Packed(io.RawIOBase):
    """Compresses what is written to it."""

    def __init__(self, out: RawIOBase, compressor: Any) -> None:
        super().__init__()
        self._out = out
        self._compressor = compressor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        write_in_thread(self._out, self._compressor.compress(data))
        return memoryview(data).nbytes
