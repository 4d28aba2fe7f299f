"""The secrets of sending transfers that were not finished, by what was sent.

With one of them a sender proves to a receiver that it is the sender of an earlier try. Each is in a
private file of its own, so that processes need no lock among them; a few dozen, for two weeks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from struct import Struct

from blake3 import blake3

from p2pxfer.errors import LocalFileError
from p2pxfer.files.framing import decoded, encoded
from p2pxfer.files.records import SECRET_SIZE
from p2pxfer.files.state import StateFolder, read_whole

EXPIRY = 14 * 24 * 3600.0  # seconds
MOST_SECRETS = 64
SOURCES_CONTEXT = "p2pxfer 2026 sources v1"

_KIND = 32
_VERSION = 1
_BODY = Struct(">B32s32sd")
_LENGTH = Struct(">I")
_LONGEST = 4096  # bytes read of one file
_START = 32  # hexadecimal digits of the sources' digest in a file's name


def sources_digest(paths: Iterable[str | bytes | os.PathLike[str]]) -> bytes:
    """What is sent, as 32 bytes: a digest over the absolute paths of all arguments, in any order.

    Symlinks are not resolved: what an argument leads to may be another version of the same thing.
    """
    hasher = blake3(derive_key_context=SOURCES_CONTEXT)
    for path in sorted({os.path.abspath(os.fsencode(named)) for named in paths}):
        hasher.update(_LENGTH.pack(len(path)) + path)
    digest: bytes = hasher.digest()
    return digest


class Keyring:
    """The secrets that this user's senders remember.

    Args:
        directory: where they are; `state.state_path("sending")` by default of the callers.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._folder = StateFolder(directory, ".sending")

    def remember(self, sources: bytes, secret: bytes, now: float) -> None:
        """Keep a session's secret, 32 bytes, for what `sources_digest` says; drop the oldest.

        Args:
            sources: 32 bytes.
            secret: 32 bytes.
            now: seconds since the epoch.

        Raises:
            LocalFileError: it can't be kept.
        """
        if len(sources) != SECRET_SIZE or len(secret) != SECRET_SIZE:
            raise ValueError("a digest and a secret have 32 bytes")
        _, fd = self._folder.create(f"{sources.hex()[:_START]}-")
        try:
            os.write(fd, encoded(_KIND, _BODY.pack(_VERSION, sources, secret, now)))
        except OSError as error:
            raise LocalFileError(f"a secret can't be kept: {error.strerror}") from error
        finally:
            os.close(fd)
        self.expire(now)

    def recall(self, sources: bytes, now: float) -> list[bytes]:
        """The secrets of earlier tries to send the same, newest first."""
        found = []
        for name in self._folder.names():
            if name.startswith(sources.hex()[:_START]):
                held = self._read(name)
                if held is not None and held[0] == sources and now - held[2] < EXPIRY:
                    found.append((held[2], held[1]))
        return [secret for _, secret in sorted(found, reverse=True)]

    def forget(self, secret: bytes) -> None:
        """That transfer is finished."""
        for name in self._folder.names():
            held = self._read(name)
            if held is not None and held[1] == secret:
                self._folder.remove(name)

    def expire(self, now: float) -> None:
        """Drop what is too old, and the oldest of what is too many."""
        names = self._folder.names()
        ages = sorted((now - (self._folder.modified(name) or 0.0), name) for name in names)
        for number, (age, name) in enumerate(ages):
            if number >= MOST_SECRETS or age >= EXPIRY:
                self._folder.remove(name)

    def clear(self) -> None:
        """Drop all of them."""
        for name in self._folder.names():
            self._folder.remove(name)

    def __len__(self) -> int:
        return len(self._folder.names())

    def _read(self, name: str) -> tuple[bytes, bytes, float] | None:
        fd = self._folder.open(name)
        if fd is None:
            return None
        try:
            records = list(decoded(read_whole(fd, _LONGEST)))
        finally:
            os.close(fd)
        for kind, body in records:
            if kind == _KIND and len(body) == _BODY.size:
                version, sources, secret, when = _BODY.unpack(body)
                if version == _VERSION:
                    return sources, secret, when
        return None
