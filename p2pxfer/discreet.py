"""Records that keep secrets, and what is far too long, out of what is shown of them.

A mixin for `msgspec.Struct`, whose own repr shows every field. No record lives here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar


class Discreet:
    """Stands before ``Struct`` among a record's bases.

    Attributes:
        hidden: names of the fields that neither ``repr`` nor rich's tracebacks show.
    """

    __slots__ = ()
    hidden: ClassVar[tuple[str, ...]]
    if TYPE_CHECKING:
        __struct_fields__: ClassVar[tuple[str, ...]]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        names = (name for name in self.__struct_fields__ if name not in self.hidden)
        return [(name, getattr(self, name)) for name in names]
