"""A conversation that goes both ways at once, and is over when either way is.

What is said, and over what, is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


async def converse(
    listening: Coroutine[None, None, None], speaking: Coroutine[None, None, None]
) -> list[Exception]:
    """Listen and speak until one of the two is over; nobody does either any more then.

    Returns:
        What they raised, the listening one's first.
    """
    tasks = [asyncio.create_task(each) for each in (listening, speaking)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    return [result for result in results if isinstance(result, Exception)]
