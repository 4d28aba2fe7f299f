"""The ``p2pxfer`` command, which ``python -m p2pxfer`` is, too."""

from __future__ import annotations

import gc
from typing import NoReturn

LOADING = (120_000, 20, 50)  # objects, rounds, rounds: nothing that a command loads is garbage


def main() -> NoReturn:
    """Have garbage looked for seldom, and go on to what the command line says."""
    gc.set_threshold(*LOADING)
    from p2pxfer.cli import app  # noqa: PLC0415  # not before that

    app.main()


if __name__ == "__main__":
    main()
