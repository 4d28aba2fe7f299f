"""The handshake between honest sides, and under any handling of its mail."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pxfer.errors import (
    PairingError,
    PeerMisbehaved,
    RendezvousMisbehaved,
    WrongCode,
)
from p2pxfer.pairing.handshake import MAX_MAIL, TRANSITIONS, Handshake, Kind, State
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.role import Role

PASSWORD = b"7-orbit-lamp"
OTHER = b"7-orbit-zebra"


def test_one_code_gives_one_session(sides, converse):
    """Both have the same secret and transcript, and know each other's hello."""
    hello_a = Hello(1, frozenset({"verify"}), "p2pxfer/1")
    hello_b = Hello(1, frozenset(), "browser/1")
    a, b = sides(hello_a=hello_a, hello_b=hello_b)
    converse(a, b)
    assert a.keys.secret == b.keys.secret
    assert a.keys.transcript == b.keys.transcript
    assert (a.keys.role, b.keys.role) == (Role.A, Role.B)
    assert (a.keys.peer, b.keys.peer) == (hello_b, hello_a)
    assert a.keys.verifier_words() == b.keys.verifier_words()
    sealed = a.keys.sealer("signals").seal(b"an offer")
    assert b.keys.opener("signals").open(sealed) == b"an offer"


def test_the_code_is_used_up_when_it_worked(sides, converse):
    """Nobody may come a second time with it."""
    a, b = sides()
    converse(a, b)
    assert a.guess_spent
    assert b.guess_spent


def test_each_session_is_fresh(sides, converse):
    """The same code, as a nightly job has it, gives another secret each time."""
    secrets = set()
    for _ in range(3):
        a, b = sides()
        converse(a, b)
        secrets |= {a.keys.secret, b.keys.secret, a.keys.transcript}
    assert len(secrets) == 6


@pytest.mark.parametrize(("version_a", "version_b", "spoken"), [(1, 1, 1), (1, 9, 1), (9, 1, 1)])
def test_the_lower_version_is_spoken(sides, converse, version_a, version_b, spoken):
    """A newer program still talks to an older one."""
    a, b = sides(hello_a=Hello(version_a), hello_b=Hello(version_b))
    converse(a, b)
    assert a.keys.version == b.keys.version == spoken


def test_a_wrong_code_is_noticed_by_the_sender(sides, converse):
    """Nobody has keys then, and the receiver has heard nothing to test further guesses with."""
    a, b = sides(password_b=OTHER)
    with pytest.raises(WrongCode):
        converse(a, b)
    assert a.keys is None
    assert b.keys is None
    assert a.guess_spent


def test_silence_after_the_hellos_spends_no_guess(sides):
    """A peer that came and went before answering could test nothing."""
    a, b = sides()
    a.start()
    a.receive(b.start()[0])
    assert not a.guess_spent
    assert not b.guess_spent


def test_an_answer_given_is_a_guess_spent(sides):
    """Whoever posed as the sender can test its guess on the answer, and vanish."""
    a, b = sides()
    b.start()
    for mail in a.start():
        b.receive(mail)
    assert b.guess_spent
    assert b.keys is None


@pytest.mark.parametrize(("role", "doing"), [(Role.A, "sending"), (Role.B, "receiving")])
def test_two_sides_of_one_role_are_told_so(role, doing):
    """The likeliest mistake with a chosen code: the same command on both machines."""
    one, other = (Handshake(role, PASSWORD, Hello()) for _ in range(2))
    one.start()
    with pytest.raises(PairingError, match=f"both sides are {doing}") as caught:
        one.receive(other.start()[0])
    assert not isinstance(caught.value, WrongCode)
    assert "p2pxfer" in caught.value.hint
    assert not one.guess_spent


def test_every_transition_is_one_that_a_whole_handshake_takes(sides):
    """The table has no row that honest sides would not use."""
    a, b = sides()
    taken = set()
    for_b, for_a = a.start(), b.start()
    for side, role, inbox, outbox in [
        (b, Role.B, for_b, for_a), (a, Role.A, for_a, for_b), (b, Role.B, for_b, for_a),
    ]:  # fmt: skip
        while inbox:
            mail = inbox.pop(0)
            before = side._state
            outbox.extend(side.receive(mail))
            taken.add(((role, before), (Kind(mail[0]), side._state)))
    assert taken == set(TRANSITIONS.items())
    assert a._state is b._state is State.KEYED


def test_mail_before_the_start_or_after_the_end_is_the_callers_mistake(sides, converse):
    """What comes after the handshake is sealed, and never given to it."""
    a, b = sides()
    with pytest.raises(RuntimeError):
        a.receive(b"\x01")
    converse(a, b)
    with pytest.raises(RuntimeError):
        a.receive(b"\x01")
    with pytest.raises(RuntimeError):
        a.start()


def test_a_dead_handshake_stays_dead(sides):
    """One peer message an instance, also after a bad one."""
    a, b = sides()
    a.start()
    with pytest.raises(PeerMisbehaved):
        a.receive(b"\xff")
    with pytest.raises(RuntimeError):
        a.receive(b.start()[0])
    assert a.keys is None


@pytest.mark.parametrize("mail", [b"", b"\x01", b"\x00" * 20, b"\x01" + b"x" * MAX_MAIL])
def test_malformed_mail_is_no_wrong_code(sides, mail):
    """It tells nothing of the code, and the error says whose fault it is."""
    a, _ = sides()
    a.start()
    with pytest.raises(PeerMisbehaved):
        a.receive(mail)
    assert not a.guess_spent


def test_nothing_secret_is_shown(sides, converse):
    """Neither the password nor the secret, before or after."""
    a, b = sides()
    assert repr(a) == "Handshake(A, START)"
    converse(a, b)
    shown = f"{a!r} {b!r} {a.keys!r} {a.keys}"
    assert "orbit" not in shown
    assert repr(a.keys.secret) not in shown


def test_mail_fits_its_bound(sides):
    """Even with the longest hello."""
    longest = Hello(255, frozenset(f"{each:032d}" for each in range(16)), "x" * 64)
    a, b = sides(hello_a=longest, hello_b=longest)
    mail = [*a.start(), *b.start()]
    assert max(map(len, mail)) <= MAX_MAIL


CHANGES = ("as is", "cut", "lengthened", "bit flipped", "kind changed", "side changed")


def changed(mail: bytes, how: str, place: int) -> bytes:
    place %= max(1, len(mail))
    match how:
        case "cut":
            return mail[:place]
        case "lengthened":
            return mail + bytes(place + 1)
        case "bit flipped":
            return mail[:place] + bytes((mail[place] ^ 1 << place % 8,)) + mail[place + 1 :]
        case "kind changed":
            return bytes((place % 6,)) + mail[1:]
        case "side changed":
            return mail[:1] + (b"B" if mail[1:2] == b"A" else b"A") + mail[2:]
        case _:
            return mail


@given(
    same_code=st.booleans(),
    steps=st.lists(
        st.tuples(
            st.sampled_from("AB"),
            st.integers(0, 9),
            st.one_of(st.just("as is"), st.sampled_from(CHANGES)),
            st.integers(0, 2000),
        ),
        max_size=14,
    ),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_however_mail_is_handled_both_agree_or_have_nothing(same_code, steps):
    """Mail of both sides is delivered, repeated, reflected, cut, changed, in any order.

    If both end with keys, these are the same, and the codes were. If one of them has keys, then
    the other made every byte that it was told. No error but the promised ones is raised.
    """
    a = Handshake(Role.A, PASSWORD, Hello(agent="a"))
    b = Handshake(Role.B, PASSWORD if same_code else OTHER, Hello(agent="b"))
    sides = {"A": a, "B": b}
    said = {"A": a.start(), "B": b.start()}
    told: dict[str, list[bytes]] = {"A": [], "B": []}
    dead: set[str] = set()
    for name, pick, how, place in steps:
        side = sides[name]
        if name in dead or side.keys is not None:
            continue
        pool = said["B"] + said["A"] if name == "A" else said["A"] + said["B"]
        due = len(told[name])
        mail = pool[due % len(pool)] if how == "as is" else pool[pick % len(pool)]
        mail = changed(mail, how, place)
        told[name].append(mail)
        try:
            said[name] += side.receive(mail)
        except (PairingError, PeerMisbehaved, RendezvousMisbehaved):
            assert side.keys is None
            dead.add(name)
    for name, other in (("A", "B"), ("B", "A")):
        if sides[name].keys is not None:
            assert same_code
            assert told[name] == said[other][: len(told[name])]
    if a.keys is not None and b.keys is not None:
        assert a.keys.secret == b.keys.secret
