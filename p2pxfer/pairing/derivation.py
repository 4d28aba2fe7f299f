"""HKDF-SHA256 as every key of p2pxfer is derived: one prefix, one label, 32 bytes."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_SIZE: Final = 32
PREFIX: Final = "p2pxfer/1 "


def derive(secret: bytes, salt: bytes, label: str) -> bytes:
    """HKDF-SHA256 (RFC 5869) of ``secret``: 32 bytes, with ``p2pxfer/1 LABEL`` as the info.

    An empty salt is the RFC's absent one.
    """
    info = (PREFIX + label).encode("ascii")
    return HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=salt, info=info).derive(secret)
