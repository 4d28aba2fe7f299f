"""Sizes, rates and times as people type them. Which option each is for is not known here."""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import re

from p2pxfer.errors import UsageError

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?", re.IGNORECASE)
POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)", re.IGNORECASE)
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def byte_count(text: str) -> int:
    """A size as people type it: ``500M``, ``1.5GiB``, ``10 000 000`` without the spaces.

    Raises:
        UsageError: it is none.
    """
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"not a size: {text}", "a size looks like 500M, 1.5G or 2GiB")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** POWERS[unit.lower()])


def rate(text: str) -> float:
    """Bytes per second as people type it: ``5M``, ``800k``, ``1.5MiB``.

    Raises:
        UsageError: it is none, or slower than a connection bears.
    """
    from p2pxfer.sctp.congestion.limit import LEAST_RATE

    try:
        value = byte_count(text)
    except UsageError as error:
        raise UsageError(f"not a rate: {text}", "a rate looks like 5M or 800k") from error
    if value < LEAST_RATE:
        raise UsageError(f"too slow to keep a connection: {text}", "a rate looks like 5M or 800k")
    return float(value)


def patience(text: str) -> float:
    """A time as `seconds` takes it, or 0 for none at all.

    Raises:
        UsageError: it is neither.
    """
    return 0.0 if text.strip().lower() in ("0", "0s") else seconds(text)


def seconds(text: str) -> float:
    """A time as people type it: ``90``, ``90s``, ``10m``, ``2h``, ``1d``.

    Raises:
        UsageError: it is none, or no time at all.
    """
    found = TIME.fullmatch(text.strip())
    value = float(found[1]) * SECONDS[found[2].lower()] if found else 0.0
    if value <= 0:
        raise UsageError(f"not a time: {text}", "a time looks like 90s, 10m or 2h")
    return value
