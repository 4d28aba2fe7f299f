"""Two sides of a handshake, and the mail between them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2pxfer.pairing.handshake import Handshake
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.role import Role

PASSWORD = b"7-orbit-lamp"
Sides = tuple[Handshake, Handshake]


@pytest.fixture
def sides() -> Callable[..., Sides]:
    """Makes A and B, of one password unless told otherwise."""

    def make(
        password_a: bytes = PASSWORD,
        password_b: bytes = PASSWORD,
        hello_a: Hello | None = None,
        hello_b: Hello | None = None,
    ) -> Sides:
        return (
            Handshake(Role.A, password_a, hello_a or Hello(agent="a")),
            Handshake(Role.B, password_b, hello_b or Hello(agent="b")),
        )

    return make


@pytest.fixture
def converse() -> Callable[[Handshake, Handshake], None]:
    """Carries mail between A and B, faithfully, until neither says more."""

    def carry(a: Handshake, b: Handshake) -> None:
        for_b, for_a = a.start(), b.start()
        while for_a or for_b:
            if for_b:
                for_a += b.receive(for_b.pop(0))
            if for_a:
                for_b += a.receive(for_a.pop(0))

    return carry
