"""A rendezvous that attacks the two sides which meet through it, one attack a test."""

from __future__ import annotations

import pytest

from p2pxfer.errors import (
    IntegrityError,
    PairingError,
    PeerMisbehaved,
    RendezvousMisbehaved,
    TransferError,
    WrongCode,
)
from p2pxfer.pairing.handshake import Handshake
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.pake import Pake
from p2pxfer.pairing.role import Role

PASSWORD = b"7-orbit-lamp"
HELLO, SHARE = 0, 1  # places in A's first mail
IDENTITY = bytes((1,)) + bytes(31)


def met(sides, **hellos):
    """Both sides with the hellos exchanged, and A's share still under way."""
    a, b = sides(**hellos)
    from_a, from_b = a.start(), b.start()
    a.receive(from_b[0])
    b.receive(from_a[HELLO])
    return a, b, from_a[SHARE]


def with_hello_changed(sides, change_for_a=None, change_for_b=None):
    """Runs a handshake whose hellos are changed on the way; gives the sides and A's error."""
    a, b = sides(hello_a=Hello(2, frozenset({"verify"}), "a"), hello_b=Hello(2, frozenset(), "b"))
    from_a, from_b = a.start(), b.start()
    a.receive(change_for_a(from_b[0]) if change_for_a else from_b[0])
    b.receive(change_for_b(from_a[HELLO]) if change_for_b else from_a[HELLO])
    answer = b.receive(from_a[SHARE])[0]
    with pytest.raises(WrongCode):
        a.receive(answer)
    assert a.keys is b.keys is None


def test_it_swaps_the_receivers_version_for_an_older_one(sides):
    """A downgrade shows as a failed confirmation."""
    with_hello_changed(sides, change_for_a=lambda mail: mail[:1] + b"\x01" + mail[2:])


def test_it_swaps_the_senders_version_for_an_older_one(sides):
    """The other way round."""
    with_hello_changed(sides, change_for_b=lambda mail: mail[:1] + b"\x01" + mail[2:])


def test_it_swaps_both_versions(sides):
    """Also when both sides are told the same lie."""

    def older(mail):
        return mail[:1] + b"\x01" + mail[2:]

    with_hello_changed(sides, older, older)


def test_it_takes_a_capability_away(sides):
    """`verify` can't be talked out of a side."""
    with_hello_changed(
        sides, change_for_b=lambda mail: mail[:19] + b"\x00" + mail[mail.index(b"verify") + 6 :]
    )


def test_it_renames_the_program(sides):
    """Not even what is only for people may change."""
    with_hello_changed(sides, change_for_a=lambda mail: mail[:-1] + b"x")


def test_it_freshens_a_hello(sides):
    """The nonce is bound as well."""
    with_hello_changed(sides, change_for_a=lambda mail: mail[:3] + bytes(16) + mail[19:])


@pytest.mark.parametrize("heard", [0, 1])
@pytest.mark.parametrize("place", [HELLO, SHARE])
def test_it_reflects_the_senders_mail(sides, heard, place):
    """Before and after the receiver's hello: a side knows its own mail again."""
    a, b = sides()
    own, other = a.start(), b.start()
    for mail in other[:heard]:
        a.receive(mail)
    with pytest.raises(RendezvousMisbehaved):
        a.receive(own[place])


@pytest.mark.parametrize("heard", [0, 1, 2])
def test_it_reflects_the_receivers_mail(sides, heard):
    """The hello, and the answer once there is one."""
    a, b = sides()
    own, other = b.start(), a.start()
    for mail in other[:heard]:
        own += b.receive(mail)
    with pytest.raises(RendezvousMisbehaved):
        b.receive(own[-1])


def test_it_reflects_the_share_under_the_other_side(sides):
    """The element would cancel the password out."""
    a, _, share = met(sides)
    with pytest.raises(PeerMisbehaved):
        a.receive(b"\x03B" + share[2:])
    assert not a.guess_spent


def test_it_claims_that_both_are_senders(sides):
    """It can deny service, which it can do anyway; nothing is learnt."""
    a, b = sides()
    a.start()
    with pytest.raises(PairingError, match="both sides are sending"):
        a.receive(b.start()[0].replace(b"B", b"A", 1))
    assert not a.guess_spent


def test_it_replays_a_hello(sides):
    """Where another mail is due."""
    a, b = sides()
    a.start()
    mail = b.start()[0]
    a.receive(mail)
    with pytest.raises(PeerMisbehaved, match="instead"):
        a.receive(mail)


def test_it_replays_a_whole_earlier_session(sides):
    """Everything that a receiver with the same chosen code said last night."""
    a, b = sides()
    from_a, from_b = a.start(), b.start()
    for mail in from_a:
        from_b += b.receive(mail)
    for mail in from_b:
        from_a += a.receive(mail)
    tonight, _ = sides()
    tonight.start()
    tonight.receive(from_b[0])
    with pytest.raises(WrongCode):
        tonight.receive(from_b[1])
    _, receiver = sides()
    receiver.start()
    for mail in from_a[:2]:
        receiver.receive(mail)
    with pytest.raises(WrongCode):
        receiver.receive(from_a[2])


def test_it_puts_mail_out_of_order(sides):
    """The share before the hello, the answer before the hello."""
    a, b = sides()
    from_a = a.start()
    b.start()
    with pytest.raises(PeerMisbehaved, match="instead"):
        b.receive(from_a[SHARE])
    a, b, share = met(sides)
    answer = b.receive(share)[0]
    other, _ = sides()
    other.start()
    with pytest.raises(PeerMisbehaved, match="instead"):
        other.receive(answer)


def test_it_truncates_every_mail_at_every_byte(sides):
    """No beginning of a mail is taken for the mail."""
    a, b, share = met(sides)
    answer = b.receive(share)[0]
    closing = a.receive(answer)[0]
    for at, (due, whole) in enumerate([("share", share), ("answer", answer), ("closing", closing)]):
        for length in (0, 1, 33, 34, 35, len(whole) - 1):
            victim_a, victim_b, fresh = met(sides)
            victim = victim_a if due == "answer" else victim_b
            if due == "closing":
                victim_b.receive(fresh)
            with pytest.raises(PeerMisbehaved):
                victim.receive(whole[:length])
            assert victim.keys is None, at


def test_it_guesses_the_code_as_the_receiver(sides):
    """One guess, and the sender always learns of it."""
    a, guesser = sides(password_b=b"7-orbit-zebra")
    from_a, hello = a.start(), guesser.start()[0]
    guesser.receive(from_a[HELLO])
    a.receive(hello)
    answer = guesser.receive(from_a[SHARE])[0]
    with pytest.raises(WrongCode):
        a.receive(answer)
    assert a.guess_spent
    with pytest.raises(RuntimeError):
        a.receive(answer)


def test_it_tries_to_guess_without_confirming(sides):
    """Without an answer that is right the sender says nothing a guess could be tested on."""
    a, b = sides()
    from_a = a.start()
    assert a.receive(b.start()[0]) == []
    assert len(from_a[SHARE]) == 1 + 33 + 32
    assert not a.guess_spent


def test_it_guesses_the_code_as_the_sender(sides):
    """The receiver gets no keys out of it, and knows its code is used up."""
    guesser, b = sides(password_a=b"7-orbit-zebra")
    b.start()
    for mail in guesser.start():
        answers = b.receive(mail)
    assert b.guess_spent
    with pytest.raises(WrongCode):
        b.receive(b"\x04" + guesser._nonce + answers[0][-32:])
    assert b.keys is None


def test_it_tests_two_guesses_with_one_share(sides):
    """A share is made for one password: what fits another one is no answer."""
    a, b, _ = met(sides, password_b=b"7-orbit-zebra")
    pake = Pake(Role.B, b"7-orbit-zebra")
    with pytest.raises(WrongCode):
        a.receive(b"\x03" + pake.message + bytes(32))
    with pytest.raises(RuntimeError):
        a.receive(b"\x03" + pake.message + bytes(32))
    assert b.keys is None


@pytest.mark.parametrize(
    "element",
    [IDENTITY, IDENTITY[:-1] + b"\x80", bytes(32), b"\xff" * 32, b"\xee" + b"\xff" * 30 + b"\x7f"],
    ids=["identity", "signed identity", "order 4", "all ones", "unreduced identity"],
)
def test_it_puts_a_bad_element_in_a_share(sides, element):
    """Both ways: refused as malformed before any confirmation is made."""
    a, b, share = met(sides)
    with pytest.raises(PeerMisbehaved):
        b.receive(share[:2] + element + share[34:])
    assert not b.guess_spent
    with pytest.raises(PeerMisbehaved):
        a.receive(b"\x03B" + element + bytes(32))
    assert not a.guess_spent


def test_it_swaps_the_senders_element_for_another_good_one(sides):
    """The receiver answers for other keys, and the sender notices."""
    a, b, share = met(sides)
    other = Pake(Role.A, PASSWORD).message
    answer = b.receive(share[:1] + other + share[34:])[0]
    with pytest.raises(WrongCode):
        a.receive(answer)


def test_it_swaps_the_receivers_element_for_another_good_one(sides):
    """Even one that is made with the right code."""
    a, b, share = met(sides)
    answer = b.receive(share)[0]
    other = Pake(Role.B, PASSWORD).message
    with pytest.raises(WrongCode):
        a.receive(answer[:1] + other + answer[34:])


def test_it_changes_the_commitment(sides):
    """It is in the transcript that the receiver confirms."""
    a, b, share = met(sides)
    answer = b.receive(share[:-1] + bytes((share[-1] ^ 1,)))[0]
    with pytest.raises(WrongCode):
        a.receive(answer)


@pytest.mark.parametrize("place", [1, 33, -1])
def test_it_changes_the_closing(sides, place):
    """The nonce or the confirmation: the receiver has no keys then."""
    a, b, share = met(sides)
    closing = bytearray(a.receive(b.receive(share)[0])[0])
    closing[place] ^= 1
    with pytest.raises(WrongCode):
        b.receive(bytes(closing))
    assert b.keys is None


def test_it_searches_for_equal_verifier_words(sides):
    """Even with the right code in hand, a sender must open the nonce that it committed to."""
    a, b, share = met(sides)
    guesser_nonce = a._nonce
    b_answer = b.receive(share)[0]
    a._nonce = bytes(32)
    closing = a.receive(b_answer)[0]
    assert closing[1:33] == bytes(32) != guesser_nonce
    with pytest.raises(PeerMisbehaved, match="committed"):
        b.receive(closing)
    assert b.keys is None


def test_sitting_in_between_with_the_right_code_shows_in_the_verifier_words(sides, converse):
    """What --verify is for: two sessions never show the same words."""
    a, false_b = sides()
    false_a, b = sides()
    converse(a, false_b)
    converse(false_a, b)
    assert a.keys.verifier_words() != b.keys.verifier_words()


def test_it_crosses_two_rooms(sides):
    """Mail of another pair, although that pair has the same code."""
    a, _, _ = met(sides)
    _, other_b, other_share = met(sides)
    with pytest.raises(WrongCode):
        a.receive(other_b.receive(other_share)[0])


def test_it_floods(sides):
    """Mail beyond the bound is refused unread."""
    a, b = sides()
    a.start()
    with pytest.raises(PeerMisbehaved):
        a.receive(b.start()[0] + bytes(10_000_000))


@pytest.fixture
def paired(sides, converse):
    """What the two ends use after the handshake: A's sealer, B's, and B's opener."""
    a, b = sides()
    converse(a, b)
    return a.keys.sealer("signals"), b.keys.sealer("signals"), b.keys.opener("signals")


def test_it_replays_sealed_mail(paired):
    """The same offer twice."""
    sealer, _, opener = paired
    sealed = sealer.seal(b"offer")
    opener.open(sealed)
    with pytest.raises(IntegrityError):
        opener.open(sealed)


def test_it_reflects_sealed_mail(paired):
    """B's own candidate comes back as if it were A's."""
    _, own, opener = paired
    with pytest.raises(IntegrityError):
        opener.open(own.seal(b"candidate"))


def test_it_reorders_sealed_mail(paired):
    """A candidate before the offer."""
    sealer, _, opener = paired
    _, second = sealer.seal(b"offer"), sealer.seal(b"candidate")
    with pytest.raises(IntegrityError):
        opener.open(second)


def test_it_truncates_and_changes_sealed_mail(paired):
    """A fingerprint can't be swapped inside, nor the end cut off."""
    sealer, _, opener = paired
    sealed = bytearray(sealer.seal(b"fingerprint"))
    sealed[3] ^= 1
    with pytest.raises(IntegrityError):
        opener.open(bytes(sealed))


def test_it_injects_mail_from_an_earlier_session(sides, converse, paired):
    """Each session seals with keys of its own, under one code too."""
    a, b = sides()
    converse(a, b)
    _, _, opener = paired
    with pytest.raises(IntegrityError):
        opener.open(a.keys.sealer("signals").seal(b"candidate"))


def test_every_attack_ends_in_an_error_of_the_one_tree():
    """What a hostile mail can raise, a command can explain."""
    side = Handshake(Role.B, PASSWORD, Hello())
    side.start()
    with pytest.raises(TransferError) as caught:
        side.receive(b"\x02")
    assert caught.value.exit_code
    assert caught.value.hint
