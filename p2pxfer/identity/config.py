"""Configuration: one TOML file of this machine as one frozen value.

The file lives where the system keeps such things (`config_path`); none at all is the usual case.
A key that is not known is an error that names it, since a misspelt one would be ignored in silence.
This module knows nothing of networks, commands or what its values are used for.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from p2pxfer.discreet import Discreet
from p2pxfer.errors import LocalFileError, UsageError

MAX_CONFIG = 1024 * 1024  # bytes; no honest file comes near
EXISTING = ("ask", "overwrite", "update", "rename", "skip", "fail")
OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO

Value = TypeVar("Value")


class IceServerConfig(Discreet, Struct, frozen=True):
    """One ``[[ice_servers]]`` table: a STUN or TURN server, with credentials for TURN.

    Attributes:
        urls: such as ``stun:stun.example.org`` or ``turn:turn.example.org:3478?transport=udp``.
        username: for TURN, else None.
        credential: for TURN, else None; never shown.
    """

    hidden = ("credential",)

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


class Config(Struct, frozen=True):
    """Everything the file may say. What it leaves out is None or empty.

    Attributes:
        rendezvous: the URL that both sides meet at.
        ice_servers: STUN and TURN servers, before those the rendezvous names.
        relay_only: whether to use TURN servers alone.
        limit: bytes per second, or a timetable of them, as ``--limit`` takes it.
        background: whether everything else on the network goes first.
        output: the folder that ``receive`` writes into.
        existing: what ``receive`` does about files that are there: one of `EXISTING`.
    """

    rendezvous: str | None = None
    ice_servers: tuple[IceServerConfig, ...] = ()
    relay_only: bool | None = None
    limit: str | None = None
    background: bool | None = None
    output: Path | None = None
    existing: str | None = None


def config_path() -> Path:
    """Where the file is looked for: ``~/.config/p2pxfer/config.toml`` on Linux."""
    import platformdirs  # noqa: PLC0415  # 20 ms, which --help need not pay

    return platformdirs.user_config_path("p2pxfer", appauthor=False) / "config.toml"


def load(path: Path | None = None) -> Config:
    """Read the configuration at ``path``, or at `config_path`.

    Returns:
        What the file says; an empty `Config` when there is no file.

    Raises:
        UsageError: the file is not TOML, or has an unknown key or a wrong value.
        LocalFileError: the file can't be read, or holds a credential and others may read it.
    """
    path = config_path() if path is None else path
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(MAX_CONFIG + 1)
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise LocalFileError(f"can't read {path}: {error.strerror}") from error
    if len(raw) > MAX_CONFIG:
        raise UsageError(f"{path} is too large to be a configuration", "remove it or shorten it")
    config = _from_document(_parsed(raw, path), path)
    if any(server.credential for server in config.ice_servers):
        refuse_if_others_may_read(mode, path)
    return config


def refuse_if_others_may_read(mode: int, path: Path) -> None:
    """Refuse a file that holds a secret when its ``mode`` lets others at it.

    Raises:
        LocalFileError: the group or everybody may read or write it. Windows has no such bits.
    """
    if sys.platform != "win32" and mode & OTHERS_MAY:
        raise LocalFileError(
            f"{path} holds a secret and other users of this machine may read it",
            f"type: chmod 600 {path}",
        )


def _parsed(raw: bytes, path: Path) -> dict[str, object]:
    import tomllib  # noqa: PLC0415  # 15 ms, and most machines have no file

    try:
        return tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}", f"mend or remove {path}") from error


def _from_document(document: dict[str, object], path: Path) -> Config:
    table = _Table(document, path, "")
    rendezvous = table.take("rendezvous", str)
    relay_only = table.take("relay_only", bool)
    limit = table.take("limit", str)
    background = table.take("background", bool)
    output = table.take("output", str)
    existing = table.take("existing", str)
    if existing is not None and existing not in EXISTING:
        raise table.wrong("existing", "one of " + ", ".join(EXISTING))
    servers = table.take_tables("ice_servers", _ice_server)
    table.end()
    return Config(
        rendezvous=rendezvous,
        ice_servers=servers,
        relay_only=relay_only,
        limit=limit,
        background=background,
        output=None if output is None else Path(output).expanduser(),
        existing=existing,
    )


def _ice_server(table: _Table) -> IceServerConfig:
    urls = table.take_strings("urls")
    username = table.take("username", str)
    credential = table.take("credential", str)
    table.end()
    if not urls:
        raise table.wrong("urls", "one URL, or several in brackets")
    return IceServerConfig(urls, username, credential)


class _Table:
    """One TOML table whose keys are taken one by one; `end` refuses what nobody took."""

    def __init__(self, values: dict[str, object], path: Path, prefix: str) -> None:
        self._values = dict(values)
        self._path = path
        self._prefix = prefix

    def take(self, key: str, kind: type[Value]) -> Value | None:
        value = self._values.pop(key, None)
        if value is not None and not isinstance(value, kind):
            names = {str: "a string in quotes", bool: "true or false"}
            raise self.wrong(key, names.get(kind, kind.__name__))
        return value

    def take_strings(self, key: str) -> tuple[str, ...]:
        value = self._values.pop(key, [])
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
            raise self.wrong(key, "a string, or several in brackets")
        return tuple(listed)

    def take_tables(self, key: str, make: Callable[[_Table], Value]) -> tuple[Value, ...]:
        value = self._values.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, f"written as [[{key}]] tables")
        return tuple(
            make(_Table(item, self._path, f"{key}[{number}].")) for number, item in enumerate(value)
        )

    def end(self) -> None:
        for key in self._values:
            raise UsageError(
                f"{self._path}: no such setting: {self._prefix}{key}",
                f"mend or remove that line of {self._path}",
            )

    def wrong(self, key: str, expected: str) -> UsageError:
        return UsageError(
            f"{self._path}: {self._prefix}{key} must be {expected}",
            f"mend or remove that line of {self._path}",
        )
