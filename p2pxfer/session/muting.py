"""Muting: what whoever shares keeps to themselves for now, whoever watches. No terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from p2pxfer.tracks import Kind


class Muting:
    """Which kinds of tracks are muted; it stays so until it is changed, also for the next watcher.

    Attributes:
        kinds: those that are.
    """

    def __init__(self) -> None:
        self.kinds: frozenset[Kind] = frozenset()
        self._followers: list[Callable[[], None]] = []

    def change(self, kinds: frozenset[Kind]) -> None:
        """Have ``kinds`` muted, and no others; in effect once this returns."""
        if kinds != self.kinds:
            self.kinds = kinds
            for follower in tuple(self._followers):
                follower()

    @contextlib.contextmanager
    def followed(self, follower: Callable[[], None]) -> Iterator[None]:
        """Have ``follower`` called at each change, until the end of the block."""
        self._followers.append(follower)
        try:
            yield
        finally:
            self._followers.remove(follower)
