"""``python -m p2pxfer`` is the ``p2pxfer`` command."""

from p2pxfer.cli.app import main

if __name__ == "__main__":
    main()
