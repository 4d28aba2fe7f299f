"""Loading aiortc and aioice without those parts of them that few connections need.

aioice looks names under ``.local`` up with a DNS library, aiortc encodes media with PyAV: a fifth
of what a start costs, and most of what is read from the disk for it. While the two are imported,
their imports of these find something else in place, which is gone again afterwards: a name that
they took from there leads to the real one whenever it is used. What can't work so is noticed while
it is imported, and then all is imported as usual.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

NAMES: Final = "aioice.mdns"
MEDIA: Final = ("av", "av.frame", "av.packet", "av.video.codeccontext")

_without_media = False


def without_media() -> None:
    """Say that nothing in this process handles media: a command that transfers files may."""
    global _without_media  # noqa: PLW0603  # there is one interpreter
    _without_media = True


def load() -> None:
    """Import `p2pxfer.peer.connection`, and with it all that a connection takes."""
    with contextlib.suppress(Exception), _in_place():  # whatever other versions make of it
        importlib.import_module("p2pxfer.peer.connection")
    importlib.import_module("p2pxfer.peer.connection")


class LateModule(ModuleType):
    """Stands for a module that is imported when something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system and inspections look for
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            return LateName(self.__name__, name)
        return getattr(importlib.import_module(self.__name__), name)


class LateName:
    """Stands for a class or function in annotations, checks and calls; what is told is the real."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """As the real one."""
        return self._real()(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by whoever takes it into an annotation
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._real())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self._real())

    def __mro_entries__(self, _bases: tuple[object, ...]) -> tuple[Any, ...]:
        return (self._real(),)

    def _real(self) -> Any:
        for name in (NAMES, *MEDIA):  # if it is needed this early, all that follows may be real
            if isinstance(sys.modules.get(name), LateModule):
                del sys.modules[name]
        return getattr(importlib.import_module(self._module), self._name)


@contextlib.contextmanager
def _in_place() -> Iterator[None]:
    """Put what stands for modules where an import finds it, unless they are there already."""
    wanted = [] if "aioice" in sys.modules else [NAMES]
    if _without_media and not {"aiortc", "av"} & set(sys.modules):
        wanted += MEDIA
    late = {name: LateModule(name) for name in wanted}
    if NAMES in late:
        late[NAMES].is_mdns_hostname = _is_mdns_hostname  # type: ignore[attr-defined]  # it is to have it
    sys.modules.update(late)
    try:
        yield
    finally:
        for name, module in late.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _is_mdns_hostname(name: str) -> bool:
    """What aioice asks of every address: such a name is under ``.local`` (RFC 6762 section 3)."""
    return ".local" in name.lower() and bool(importlib.import_module(NAMES).is_mdns_hostname(name))
