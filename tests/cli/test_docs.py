"""The pages about the commands say what the commands do, and all of it."""

from __future__ import annotations

import inspect
import json
import re
import typing
from pathlib import Path

import pytest

from p2pxfer import errors, progress
from p2pxfer.cli.ndjson import Ndjson
from p2pxfer.cli.outlet import Outlet
from p2pxfer.cli.scene import Scene
from p2pxfer.cli.screen import Screen
from p2pxfer.errors import ExitCode, Fault
from p2pxfer.identity.config import Config, IceServerConfig, load
from tests.cli.reference import PAGE, page

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NDJSON = (ROOT / "docs" / "ndjson.md").read_text(encoding="utf-8")
FIRST_SCREEN = 40  # lines
SOME = {
    "str": "x\ud800",
    "int": 3,
    "float": 1.5,
    "bytes": b"a\xff",
    "bool": True,
    "PathKind": "direct",
    "TrackKind": "video",
    "Via": "turn",
    "ConnectTimes": progress.ConnectTimes(),
    "Sequence[FinishedFile]": [progress.FinishedFile(b"a\xff", 3, bytes(32))],
    "tuple[str, ...]": ("7-orbit-lamp@192.0.2.1",),
}


def test_the_reference_is_what_the_commands_say():
    """Every command, option, value and default; `python tests/cli/reference.py` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page()


def documented() -> dict[str, set[str]]:
    """The events of the page, and the fields of each."""
    tables = re.findall(r"^\| `(\w+)` \|.*\n\|---\|---\|\n((?:\|.*\n)*)", NDJSON, re.MULTILINE)
    return {event: set(re.findall(r"^\| `(\w+)`", rows, re.MULTILINE)) for event, rows in tables}


def test_every_event_and_field_of_json_is_documented(tmp_path):
    """And none that does not exist. The events are made of their own fields, as they are now."""
    with (tmp_path / "events").open("w+") as file:
        screen = Screen(file, {})
        renderer = Ndjson(screen, Scene(sending=True, verbose=True), Outlet(file))
        for kind in sorted(typing.get_args(progress.Event), key=lambda k: k is progress.Finished):
            if kind is progress.Failed:
                continue
            types = [text.removesuffix(" | None") for text in kind.__annotations__.values()]
            renderer.emit(kind(*(SOME[name] for name in types)))
        renderer.fail(errors.NoSpace("full"))
        renderer.close()
        file.seek(0)
        told: dict[str, set[str]] = {}
        for line in map(json.loads, file):
            told.setdefault(line["event"], set()).update(line.keys() - {"event", "time"})
    assert told == documented()


def test_values_that_events_choose_from_are_documented():
    """Whose hands, which path, what is waited for."""
    for value in (*(fault.name.lower() for fault in Fault), *typing.get_args(progress.PathKind)):
        assert f"`{value}`" in NDJSON
    awaited = re.findall(r"``(\w+)``[,.]", inspect.getdoc(progress.Waiting) or "")
    assert {"peer", "accept", "receipt"} <= set(awaited)
    (row,) = (line for line in NDJSON.splitlines() if line.startswith("| `on` |"))
    assert sorted(awaited) == sorted(re.findall(r"`(\w+)`[:,]", row))


def test_the_readme_lists_the_exit_codes():
    """Each once, and says which are worth another try."""
    rows = dict(re.findall(r"^\| (\d+) \| [^|]+ \|(.*)\|$", README, re.MULTILINE))
    assert {int(code) for code in rows} == set(ExitCode)
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, errors.TransferError) and kind.retryable:
            assert rows[str(int(kind.exit_code))].strip() == "yes"


def test_the_configuration_in_the_readme_is_one_and_has_every_key(tmp_path):
    """It is read as it stands there."""
    shown = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert shown
    path = tmp_path / "config.toml"
    path.write_text(shown[1])
    path.chmod(0o600)
    config = load(path)
    for field in Config.__struct_fields__:
        assert getattr(config, field), field
    (server,) = config.ice_servers
    for field in IceServerConfig.__struct_fields__:
        assert getattr(server, field), field


def test_the_first_screen_tells_how_to_install_and_use_it():
    """Without scrolling."""
    first = "\n".join(README.splitlines()[:FIRST_SCREEN])
    for needed in ("pipx install", "p2pxfer send", "p2pxfer receive", "scripts/demo"):
        assert needed in first


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)[^)]*\)", README))))
def test_no_link_of_the_readme_is_dead(link):
    """Each leads to a file of the project."""
    assert (ROOT / link).exists()
