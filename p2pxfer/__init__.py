"""p2pxfer: files, folders and streams straight from one machine to another."""

from __future__ import annotations

__version__ = "0.1.0"
