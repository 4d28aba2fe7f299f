"""How long a path is looked for before it is clear that there is none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

CHECKS = 4.0  # seconds for pairs to be checked once all are known; each check is repeated in them
MOST = 15.0  # seconds from the offer on, for a side that never says that it has told all


async def exhausted(told: Iterable[asyncio.Event]) -> None:
    """Wait until both sides have told all their addresses, and had time to try them.

    Args:
        told: set once a side has told all; servers that do not answer have been given up by then.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MOST):
            for side in told:
                await side.wait()
            await asyncio.sleep(CHECKS)
