"""The receipt: every field is covered, under the right key only."""

from __future__ import annotations

import pytest
from msgspec.structs import fields, replace

from p2pxfer.manifest import Failure
from p2pxfer.transfer.receipt import FailureList, is_genuine, signed, unsigned

KEY = bytes(range(32))


def own():
    failures = FailureList()
    failures.add(3, Failure.EXISTS)
    return unsigned(b"i" * 16, b"r" * 32, 10, 1_000, failures)


def test_the_receipt_of_the_same_view_is_genuine():
    """Both sides saw the same, and share a key."""
    assert is_genuine(KEY, own(), signed(KEY, own()))


@pytest.mark.parametrize("field", [field.name for field in fields(own())])
def test_a_receipt_of_another_view_is_not(field):
    """One field differs: with the MAC of the true one, or with its own, it is refused."""
    value = getattr(own(), field)
    other = replace(own(), **{field: value + 1 if isinstance(value, int) else b"x" * len(value)})
    true = signed(KEY, own())
    if field == "mac":
        assert not is_genuine(KEY, own(), other)
    else:
        assert not is_genuine(KEY, own(), replace(other, mac=true.mac))
        assert not is_genuine(KEY, own(), signed(KEY, other))


def test_another_key_is_refused():
    """The key of the other direction or of another session does not sign."""
    assert not is_genuine(KEY, own(), signed(bytes(32), own()))


def test_a_key_of_another_length_is_refused():
    """A mistake in the session shows at once."""
    with pytest.raises(ValueError, match="32"):
        signed(b"short", own())


def test_failures_differ_by_entry_and_reason():
    """Which entry failed, and why, are both covered."""
    digests = set()
    for number, failure in ((1, Failure.EXISTS), (2, Failure.EXISTS), (1, Failure.NO_SPACE)):
        failures = FailureList()
        failures.add(number, failure)
        digests.add(failures.digest())
    assert len(digests) == 3


def test_a_known_receipt():
    """A vector: another implementation computes the same."""
    assert own().failures_digest.hex() == VECTOR[0]
    assert signed(KEY, own()).mac.hex() == VECTOR[1]


VECTOR = (
    "10edc9c6151a68b7d5b1172ee5e264e8b9ce22fdea4609b229adf9e539c27420",
    "0e868bf15689fde05f4389223626c7f1fdcb2374e62b9e8ee5a4d4ae501f70c0",
)
