"""The ``p2pxfer`` command, which ``python -m p2pxfer`` is, too."""

from __future__ import annotations

import gc
import os
from typing import NoReturn

LOADING = (120_000, 20, 50)  # objects, rounds, rounds: nothing that a command loads is garbage
INTERRUPTED = 130  # `p2pxfer.errors.ExitCode`, which is not loaded yet


def main() -> NoReturn:
    """Have garbage looked for seldom, and go on to what the command line says."""
    gc.set_threshold(*LOADING)
    try:
        from p2pxfer.cli import app  # noqa: PLC0415  # not before that

        app.main()
    except KeyboardInterrupt:  # while all that was being loaded: there is nothing to tidy up
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
