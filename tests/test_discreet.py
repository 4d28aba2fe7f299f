"""Records that hide secrets from whatever shows them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from msgspec import Struct

import p2pxfer
from p2pxfer.discreet import Discreet

SECRET = {"canonical", "credential", "secret", "token"}


class Login(Discreet, Struct, frozen=True):
    hidden = ("password",)

    name: str
    password: str


def records() -> Iterator[type[Struct]]:
    """Those of the whole package."""
    for module in pkgutil.walk_packages(p2pxfer.__path__, "p2pxfer."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting = Struct.__subclasses__()
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith("p2pxfer."):
            yield kind


def test_a_hidden_field_is_in_no_repr():
    """Nor in a traceback that rich draws, nor in the repr of what holds the record."""
    login = Login("me", "hunter2")
    assert repr(login) == "Login(name='me')"
    assert repr([login]) == "[Login(name='me')]"
    assert list(login.__rich_repr__()) == [("name", "me")]


def test_every_record_hides_its_secrets():
    """By the names that secrets have here; what is named as hidden is a field."""
    seen = 0
    for kind in records():
        fields = set(kind.__struct_fields__)
        hidden = set(kind.hidden) if issubclass(kind, Discreet) else set()
        assert hidden <= fields, kind
        assert fields & SECRET <= hidden, kind
        seen += bool(hidden)
    assert seen > len(SECRET)
