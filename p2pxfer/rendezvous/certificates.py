"""Certificates: those that the system trusts, read when TLS needs them and not before.

`trusted` reads them for who speaks TLS. aiohttp makes two TLS contexts while it is imported, and
has each read every certificate that the system trusts: 40 ms for nothing where it serves this
network, without TLS. Whoever serves so imports it within `read_late`. Knows nothing of aiohttp.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

_NAME: Final = "set_default_verify_paths"
_READ: Final = ssl.SSLContext.set_default_verify_paths

_at_it = threading.Lock()


class LateContext(ssl.SSLContext):
    """A context that trusts nobody until it makes its first connection, and then whom it should."""

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """As any context does."""
        return _read(self).wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """As any context does."""
        return _read(self).wrap_socket(*arguments, **options)


@contextlib.contextmanager
def read_late() -> Iterator[None]:
    """Contexts that are made within read the system's certificates when they are first used.

    Those of other threads, too, which makes no difference to them. A context of another class than
    the standard library's reads them at once.
    """
    if not _at_it.acquire(blocking=False):  # another thread is, and does it for this one, too
        yield
        return

    def read_later(context: ssl.SSLContext) -> None:
        if type(context) is ssl.SSLContext:
            context.__class__ = LateContext
        else:
            _READ(context)

    setattr(ssl.SSLContext, _NAME, read_later)
    try:
        yield
    finally:
        delattr(ssl.SSLContext, _NAME)
        _at_it.release()


@cache
def trusted() -> ssl.SSLContext:
    """A context that trusts whom the system trusts, for HTTP/1.1; it takes 20 ms, for a thread."""
    context = ssl.create_default_context()
    if isinstance(context, LateContext):  # another thread is within `read_late`
        _read(context)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _read(context: ssl.SSLContext) -> ssl.SSLContext:
    _READ(context)
    context.__class__ = ssl.SSLContext
    return context
