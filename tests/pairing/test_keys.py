"""Keys for uses and directions, verifier words, and sealed mail under attack."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.errors import IntegrityError
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import (
    ATTEMPT_NONCE,
    MAX_SEALED,
    RESUME_ID_SIZE,
    Opener,
    Sealer,
    SessionKeys,
    resume_id,
    resume_proof,
)
from p2pxfer.pairing.role import Role
from p2pxfer.pairing.wordlist import words

SECRET = bytes(range(32))
LABEL = "signals"


def both(secret: bytes = SECRET) -> tuple[SessionKeys, SessionKeys]:
    a, b = (SessionKeys(secret, role, bytes(32), Hello(), 1) for role in Role)
    return a, b


def test_both_sides_derive_the_same_keys():
    """Whatever the label and the sender."""
    a, b = both()
    for sender in (None, *Role):
        assert a.key("receipt", sender) == b.key("receipt", sender)
    assert a.verifier_words() == b.verifier_words()


def test_labels_senders_and_secrets_give_keys_of_their_own():
    """No key serves two uses."""
    keys = [each for secret in (SECRET, bytes(32)) for each in both(secret)[:1]]
    made = {
        each.key(label, sender)
        for each in keys
        for label in ("receipt", "rejoin", "rejoin-a", "verifier")
        for sender in (None, *Role)
    }
    assert len(made) == 2 * 4 * 3
    assert SECRET not in made


@pytest.mark.parametrize("label", ["", "With Space", "A", "x" * 65, "rejoin A", "ü", "-x"])
def test_a_label_cannot_run_into_the_sender(label: str):
    """``"x A"`` without a sender would be ``"x"`` from A."""
    with pytest.raises(ValueError, match="label"):
        both()[0].key(label)


def test_each_attempt_has_keys_of_its_own():
    """Fresh nonces give fresh keys, the same on both sides; with either one other, other keys."""
    one, two, three = (bytes([n]) * ATTEMPT_NONCE for n in range(3))
    a, b = both()
    assert a.attempt(one, two).key(LABEL, Role.A) == b.attempt(one, two).key(LABEL, Role.A)
    made = {
        keys.key(LABEL, Role.A)
        for keys in (
            a,
            both(bytes(32))[0].attempt(one, two),
            *(a.attempt(*pair) for pair in permutations((one, two, three), 2)),
        )
    }
    assert len(made) == 8
    sealed = [a.attempt(one, nonce).sealer(LABEL).seal(b"offer") for nonce in (two, three)]
    with pytest.raises(IntegrityError):
        b.attempt(one, two).opener(LABEL).open(sealed[1])
    assert b.attempt(one, two).opener(LABEL).open(sealed[0]) == b"offer"


@pytest.mark.parametrize("length", [0, ATTEMPT_NONCE - 1, ATTEMPT_NONCE + 1])
def test_a_nonce_of_another_length_makes_no_attempt(length: int):
    """Neither side's: the two are joined without a length between them."""
    for pair in ((bytes(length), bytes(ATTEMPT_NONCE)), (bytes(ATTEMPT_NONCE), bytes(length))):
        with pytest.raises(ValueError, match="nonce"):
            both()[0].attempt(*pair)


def test_a_proof_is_of_one_secret_within_one_session():
    """Another secret, or another session's challenge, makes another; ids tell sessions apart."""
    challenges = [both(secret)[0].key("proof", Role.A) for secret in (SECRET, bytes(32))]
    secrets = [bytes([n]) * 32 for n in range(3)]
    assert len({resume_proof(s, c) for s in secrets for c in challenges}) == 6
    assert len({resume_id(s) for s in secrets}) == 3
    assert {len(resume_id(s)) for s in secrets} == {RESUME_ID_SIZE}


def test_nothing_secret_is_shown():
    """A traceback or a log line may hold the keys' ``repr``."""
    a, _ = both()
    shown = f"{a!r} {a} {a.sealer(LABEL)!r} {a.opener(LABEL)!r}"
    assert SECRET.hex() not in shown
    assert repr(SECRET) not in shown
    assert "secret" not in shown


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_verifier_words_are_four_and_follow_the_secret(one: bytes, other: bytes):
    """Another secret shows other words."""
    shown = both(one)[0].verifier_words()
    assert len(shown) == 4
    assert set(shown) <= set(words())
    assert (one == other) == (shown == both(other)[0].verifier_words())


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_sealed_mail_opens_in_order(plain: list[bytes]):
    """In both directions at once, equal messages looking different each time."""
    a, b = both()
    ways = [(a.sealer(LABEL), b.opener(LABEL)), (b.sealer(LABEL), a.opener(LABEL))]
    seen = []
    for message in plain:
        for sealer, opener in ways:
            sealed = sealer.seal(message)
            assert opener.open(sealed) == message
            assert len(sealed) == len(message) + 16
            seen.append(sealed)
    assert len(set(seen)) == len(seen)


@given(st.data(), st.lists(st.binary(max_size=30), min_size=1, max_size=6))
def test_no_handling_of_sealed_mail_goes_unseen(data: st.DataObject, plain: list[bytes]):
    """What opens is a beginning of what was sealed, in order, whatever was done to the mail."""
    a, b = both()
    sealer, reflected, opener = a.sealer(LABEL), b.sealer(LABEL), b.opener(LABEL)
    mail = [sealer.seal(each) for each in plain]
    mail += [reflected.seal(each) for each in plain]
    mail += [each[:-1] for each in mail] + [bytes((each[0] ^ 1,)) + each[1:] for each in mail]
    opened = []
    for sealed in data.draw(st.lists(st.sampled_from(mail), max_size=12)):
        try:
            opened.append(opener.open(sealed))
        except IntegrityError:
            break
    assert opened == plain[: len(opened)]


def test_nothing_opens_after_a_failure():
    """Even the message that was due."""
    a, b = both()
    sealed, opener = a.sealer(LABEL).seal(b"first"), b.opener(LABEL)
    with pytest.raises(IntegrityError):
        opener.open(sealed[:-1])
    with pytest.raises(IntegrityError):
        opener.open(sealed)


def test_a_label_has_one_sealer():
    """A second one would use the same nonces under the same key."""
    a, _ = both()
    a.sealer(LABEL)
    a.sealer("other")
    with pytest.raises(ValueError, match="one sealer"):
        a.sealer(LABEL)


def test_a_key_is_not_used_beyond_its_limit():
    """Neither to seal nor to open."""
    sealer, opener = Sealer(SECRET, Role.A), Opener(SECRET, Role.A)
    sealer._number = opener._number = MAX_SEALED - 1
    assert opener.open(sealer.seal(b"last")) == b"last"
    with pytest.raises(RuntimeError):
        sealer.seal(b"one more")
    with pytest.raises(IntegrityError):
        opener.open(bytes(16))
