"""How long a path is looked for before it is clear that there is none."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pxfer.peer.ice import Agent
    from p2pxfer.peer.trickle import RemoteCandidates

CHECKS = 3.0  # seconds for pairs to be checked once all are known; each check is repeated in them
RELAYED = 2.0  # seconds more for relayed pairs, which begin later and take longer
MOST = 15.0  # seconds from the offer on, for a side that never says that it has told all


async def exhausted(here: Agent | None, there: RemoteCandidates) -> None:
    """Wait until both sides have told all their addresses, and had time to try them.

    Servers that do not answer have been given up by then.

    Args:
        here: what gathers for this side; None where all was told with the offer.
        there: what the other side tells.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MOST):
            if here is not None:
                await here.gathered.wait()
            await there.told.wait()
            kinds = there.kinds | (here.kinds if here is not None else set())
            await asyncio.sleep(CHECKS + (RELAYED if "relay" in kinds else 0.0))
