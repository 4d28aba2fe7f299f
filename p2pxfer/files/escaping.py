"""Text from elsewhere, made safe to show on a terminal. Knows nothing of files or terminals.

A file name may carry escape sequences that rewrite the screen, direction marks that turn
``gpj.exe`` round, or bytes that are no text at all. Whatever is not plainly printable is shown as
an escape; the backslash is escaped too, so that what is shown stands for one text only.
"""

from __future__ import annotations


def escaped(text: bytes | str) -> str:
    r"""``text`` with everything that a terminal could act on, or a reader not see, written out.

    Letters, marks, digits, symbols and the plain space stay. Control characters (C0, DEL, C1),
    format characters (direction marks, zero-width characters), line and paragraph separators,
    other spaces, private and unassigned characters become ``\xNN`` below U+0080, ``\uNNNN`` or
    ``\UNNNNNNNN`` above it. A byte that is not UTF-8 becomes ``\xNN``, always from 80 up; a
    backslash becomes ``\\``.
    """
    shown = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    if shown.isprintable() and "\\" not in shown:
        return shown
    return "".join(
        character if character.isprintable() and character != "\\" else _escape(character)
        for character in shown
    )


def _escape(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isascii():
        return f"\\x{ord(character):02x}"
    try:
        stray = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        stray = b""  # a lone surrogate that stands for no byte
    if len(stray) == 1:
        return f"\\x{stray[0]:02x}"
    code = ord(character)
    return f"\\u{code:04x}" if len(f"{code:x}") <= len("ffff") else f"\\U{code:08x}"
