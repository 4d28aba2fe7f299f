"""The error tree is what scripts rely on: its drawing, its codes, its hints."""

from __future__ import annotations

import re

from p2pxfer import errors


def every_class() -> list[type[errors.TransferError]]:
    found = [errors.TransferError]
    for known in found:
        found.extend(known.__subclasses__())
    return [known for known in found if known.__module__ == errors.__name__]


def test_the_drawing_shows_every_class_with_its_exit_code():
    """A reader of the module's first page may trust it."""
    drawn = dict(re.findall(r"[─ ]([A-Z]\w+) +(\d+)", errors.__doc__ or ""))
    assert drawn == {known.__name__: str(int(known.exit_code)) for known in every_class()}


def test_every_error_says_what_to_do_next():
    """No class is without a hint, and a given one wins."""
    for known in every_class():
        assert known("it broke").hint
        assert known("it broke", "mend it").hint == "mend it"
        assert str(known("it broke")) == "it broke"


def test_a_retry_can_only_help_where_the_peer_or_a_network_failed():
    """Scripts loop on exit codes 4, 5 and 6; the others need somebody."""
    retryable = {int(known.exit_code) for known in every_class() if known.retryable}
    assert retryable == {4, 5, 6, 130}
