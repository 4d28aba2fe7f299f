"""The code of whoever joins: as an argument, a file, from the environment, or asked for."""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from p2pxfer.cli.options import CODE_VARIABLE, secret_file
from p2pxfer.errors import UsageError

if TYPE_CHECKING:
    from p2pxfer.cli.render import Renderer


def completed(incomplete: str) -> list[str]:
    """What the shell offers for the code.

    Where the first word is clear the second ones are offered, too, so that the shell goes on
    behind the dash; after a single candidate it would put a space, as if the code ended there.
    """
    from p2pxfer.pairing.code import complete

    found = complete(incomplete)
    if len(found) == 1 and found[0].count("-") == 1:
        return complete(found[0] + "-")
    return found


def given_once(code: str | None, code_file: Path | None) -> None:
    """Refuse two codes.

    Raises:
        UsageError: there are two.
    """
    if code is not None and code_file is not None:
        raise UsageError("the code is given twice", "leave out CODE or --code-file")


async def given(
    code: str | None, code_file: Path | None, renderer: Renderer, keyboard: int | None
) -> str:
    """The code: argument, file, environment, or asked for; a blank argument is none.

    Raises:
        UsageError: there is none, and nobody to ask.
    """
    if code is not None and code.strip():
        return code
    if code_file is not None:
        return secret_file(code_file, refuse=renderer.warn_if_others_may_read)
    found = os.environ.get(CODE_VARIABLE)
    if found:
        return found
    missing = UsageError(
        "no code was given", f"give it as CODE, in {CODE_VARIABLE}, or with --code-file FILE"
    )
    if keyboard is None:
        raise missing
    import asyncio

    from p2pxfer.cli.answers import ask_code
    from p2pxfer.pairing.code import complete

    loading = asyncio.create_task(asyncio.to_thread(_load_ahead))  # once the question is shown
    try:
        return await ask_code(renderer, keyboard, complete=complete, check=checked)
    except EOFError:
        raise missing from None
    finally:
        loading.cancel()  # nobody waits for it: what is not there yet is waited for by itself


def _load_ahead() -> None:
    from p2pxfer.session.connect import load_ahead

    load_ahead()


def checked(text: str) -> None:
    """Refuse a text that can't be a code, drawn or chosen.

    Raises:
        InvalidCode: why not.
    """
    from p2pxfer.pairing.code import read, split

    read(split(text)[0])
