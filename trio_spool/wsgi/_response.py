"""The application's side of a response: start_response, write, and what is made of the iterable that the application returns.

All of it runs in worker threads. The event loop reads `head` and `whole`: after the first batch of the body, or after the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from .._core import SpoolBrokenError, SpoolWriter
from ._environ import Environ
from ._head import Head, parse_head

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIApplication


logger = logging.getLogger("trio_spool.wsgi")


class Response:
    """What one call of a WSGI application gives.

    Attributes:
        head: The status and the headers. They may still change until the first byte of the body.
        whole: The whole body, if the application returned it in one piece. It does not go through the spool then.
        failure: The error of the application. An error that it raises after the client has left would be lost otherwise: nobody
            receives from its spool any more.
        abandoned: Set by the event loop once the client has left, before it stops anything.
    """

    head: Head | None = None
    whole: bytes | None = None
    failure: Exception | None = None
    abandoned: bool = False

    def __init__(self, application: WSGIApplication, environ: Environ) -> None:
        self._application = application
        self._environ = environ
        self._is_head_request = environ["REQUEST_METHOD"] == "HEAD"
        self._emit: Callable[[bytes], object]
        self._committed = False  # the first bytes of the body are on their way, and the head with them
        self._given = 0  # bytes of the body

    # Two ways to run the application, both as a producer

    def run_in_thread(self, out: SpoolWriter) -> None:
        """Run the application from its call to the close of its iterable, in this thread."""
        self._emit = out.write
        try:
            iterable = self._call_in_thread()
            try:
                if not self._take_whole(iterable):
                    self._write_all(iterable)
            finally:
                _close_in_thread(iterable)
            self._check_end()
        except Exception as exc:
            if not self._is_of_client_that_left(exc):
                self.failure = exc
                raise

    def iterate_in_thread(self) -> Iterator[bytes]:
        """Do the same as a generator, which gives its thread back while its reader is behind."""
        written: list[bytes] = []
        self._emit = written.append
        try:
            iterable = self._call_in_thread()
            try:
                if not self._take_whole(iterable):
                    yield from self._pass_on(iter(iterable), written)
            finally:
                _close_in_thread(iterable)
            yield from _drain(written)  # an application may return an empty list, and have written before
            self._check_end()
        except Exception as exc:
            if not self._is_of_client_that_left(exc):
                self.failure = exc
                raise

    def _call_in_thread(self) -> Iterable[bytes]:
        iterable = self._application(self._environ, self.start_response)
        if isinstance(iterable, (str, bytes)) or not isinstance(iterable, Iterable):
            raise TypeError(f"a WSGI application must return an iterable of bytes, such as a list; got {iterable!r:.80}")
        return iterable

    def _is_of_client_that_left(self, error: BaseException) -> bool:
        """Return whether an error comes from a read or a write that was stopped because the client has left."""
        cause: BaseException | None = error
        seen: set[int] = set()  # a chain of causes can be a circle
        while self.abandoned and cause is not None and id(cause) not in seen:
            if isinstance(cause, SpoolBrokenError):
                return True
            seen.add(id(cause))
            cause = cause.__cause__ or cause.__context__
        return False

    # What the application calls

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """Take the status and the headers, as PEP 3333 describes it.

        Raises:
            RuntimeError: It was called before, and there is no ``exc_info``.
            BaseException: The error of ``exc_info``, if a part of the body is on its way already.
        """
        if exc_info is not None:
            try:
                if self._committed and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # its traceback holds this frame
        elif self.head is not None:
            raise RuntimeError("start_response was called a second time; only an error handler may do so, with exc_info")
        self.head = parse_head(status, headers)
        return self.write

    def write(self, chunk: bytes) -> None:
        """Send a part of the body. Block while the client is behind.

        Raises:
            ValueError: The body is longer than its Content-Length.
            SpoolBrokenError: The client has left.
        """
        if not isinstance(chunk, bytes):
            raise _not_bytes(chunk)
        head = self.head
        if head is None:
            raise RuntimeError("the application gave a part of the body before it called start_response")
        if not chunk or not self._has_body(head):
            return
        self._given += len(chunk)
        if head.length is not None and self._given > head.length:
            chunk = self._cut_off(chunk, head.length)
        if chunk:
            self._committed = True
            self._emit(chunk)

    # What becomes of the iterable

    def _take_whole(self, iterable: Iterable[bytes]) -> bool:
        """Keep a body that is here in one piece. It needs no spool, and has a length."""
        head = self.head
        if (
            not isinstance(iterable, (list, tuple))
            or hasattr(iterable, "close")
            or len(iterable) > 1
            or self._given
            or head is None
        ):
            return False
        (chunk,) = iterable or (b"",)
        if not isinstance(chunk, bytes):
            raise _not_bytes(chunk)
        self.head = head = head.with_length(len(chunk))
        if self._has_body(head):
            self._given = len(chunk)
            self.whole = chunk if self._given == head.length else self._cut_off(chunk, head.length or 0)
        return True

    def _write_all(self, iterable: Iterable[bytes]) -> None:
        iterator = iter(iterable)
        for chunk in iterator:
            self.write(chunk)
            if self._is_enough():
                return
            if self._streams_freely():
                break
        emit = self._emit
        for chunk in iterator:  # the usual case, made quick: nothing to count
            if not isinstance(chunk, bytes):
                raise _not_bytes(chunk)
            if chunk:
                emit(chunk)

    def _pass_on(self, iterator: Iterator[bytes], written: list[bytes]) -> Iterator[bytes]:
        yield from _drain(written)
        for chunk in iterator:
            self.write(chunk)
            yield from _drain(written)
            if self._is_enough():
                return
            if self._streams_freely():
                break
        for chunk in iterator:  # as in `_write_all`
            if not isinstance(chunk, bytes):
                raise _not_bytes(chunk)
            if written:
                yield from _drain(written)
            if chunk:
                yield chunk

    def _streams_freely(self) -> bool:
        """Return whether the head is on its way, and there is nothing to count."""
        return self._committed and self.head is not None and self.head.length is None

    def _has_body(self, head: Head) -> bool:
        return head.has_body and not self._is_head_request

    def _is_enough(self) -> bool:
        """Return whether no further part of the body is wanted: PEP 3333 lets the server stop then."""
        head = self.head
        return head is not None and (not self._has_body(head) or (head.length is not None and self._given > head.length))

    def _cut_off(self, chunk: bytes, length: int) -> bytes:
        logger.warning("the application gave more than the %d bytes of its Content-Length: the rest is not sent", length)
        return chunk[: max(0, len(chunk) - (self._given - length))]

    def _check_end(self) -> None:
        if self.head is None:
            raise RuntimeError("the application returned without calling start_response")
        if self._has_body(self.head) and self.head.length is not None and self._given < self.head.length:
            raise RuntimeError(f"the application set a Content-Length of {self.head.length} bytes, but gave {self._given}")


def _not_bytes(chunk: object) -> TypeError:
    return TypeError(f"the body of a WSGI response must consist of bytes, not {type(chunk).__name__}: {chunk!r:.80}")


def _drain(chunks: list[bytes]) -> Iterator[bytes]:
    yield from chunks
    chunks.clear()


def _close_in_thread(iterable: object) -> None:
    close = getattr(iterable, "close", None)
    if close is not None:
        close()
