"""Why there is no connection, in words for people: what was tried, and what to do next."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from p2pxfer.errors import ConnectionFailed

_KINDS = {"host": "local", "srflx": "public", "relay": "relayed"}
_SHOWN_OUTCOMES = 4


def no_path(
    how: str, here: Collection[str], there: Collection[str] | None, outcomes: Sequence[str]
) -> ConnectionFailed:
    """No pair of addresses works.

    Args:
        how: the rest of "no path to the other side …".
        here: the types of candidates of this side.
        there: those of the other side; None when it has told nothing at all.
        outcomes: what servers did instead of answering.
    """
    parts = [f"here {_listed(here)}"]
    parts.append("nothing heard from there" if there is None else f"there {_listed(there)}")
    parts += outcomes[:_SHOWN_OUTCOMES]
    hint = None
    if "relay" in here:
        hint = "the TURN server may not reach the other side: try another one with --ice-server"
    elif outcomes:
        hint = "check the servers given with --ice-server: usernames, passwords, certificates"
    return ConnectionFailed(f"no path to the other side {how} ({'; '.join(parts)})", hint)


def handshake_failed(*, encrypted: bool) -> ConnectionFailed:
    """There was a path, but DTLS failed over it.

    Args:
        encrypted: whether it came as far as certificates, which then were wrong.
    """
    if not encrypted:
        return ConnectionFailed("the encrypted connection could not be set up")
    return ConnectionFailed(
        "whoever answers at the other side's address does not hold its certificate",
        "somebody may sit in between: try again over another network",
    )


def silent_channel(seconds: float) -> ConnectionFailed:
    """There was a path, but nothing could be opened over it."""
    return ConnectionFailed(
        f"a path was found, but the other side opened no channel over it in {seconds:g} s"
    )


def _listed(kinds: Collection[str]) -> str:
    shown = [_KINDS[kind] for kind in sorted(kinds)]
    return f"{' and '.join(shown)} addresses" if shown else "no address"
