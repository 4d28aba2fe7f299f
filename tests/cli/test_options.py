"""What the shared flags mean, and where values come from."""

from __future__ import annotations

import math
from datetime import time

import pytest

from p2pxfer.cli.network_flags import NetworkFlags
from p2pxfer.cli.options import OutputFlags, secret_file
from p2pxfer.cli.quantities import byte_count, seconds
from p2pxfer.errors import LocalFileError, UsageError
from p2pxfer.identity.config import Config, IceServerConfig
from p2pxfer.peer.servers import IceServer

CONFIG = Config(
    rendezvous="https://config.example.org",
    ice_servers=(IceServerConfig(("turn:config.example.org",), "me", "hunter2"),),
    relay_only=True,
)


def flags(**given: object) -> NetworkFlags:
    """Network flags, none given but these."""
    return NetworkFlags(
        **{
            "rendezvous": None,
            "ice_servers": (),
            "ice_credentials_file": None,
            "relay_only": False,
            **given,
        }
    )


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    """No variable of ours from outside."""
    for name in ("P2PXFER_RENDEZVOUS", "P2PXFER_ICE_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)


def test_flag_before_environment_before_configuration(monkeypatch):
    """The order in which a rendezvous is looked for."""
    assert flags().url(CONFIG) == "https://config.example.org"
    monkeypatch.setenv("P2PXFER_RENDEZVOUS", "https://env.example.org")
    assert flags().url(CONFIG) == "https://env.example.org"
    assert flags(rendezvous="https://flag").url(CONFIG) == "https://flag"
    assert flags(rendezvous="10.0.0.1").url(CONFIG) == "http://10.0.0.1:8765"


def test_without_a_rendezvous_both_sides_meet_on_this_network(monkeypatch):
    """Also where one is known, if that is asked for."""
    assert flags().url(Config()) is None
    monkeypatch.setenv("P2PXFER_RENDEZVOUS", "https://env.example.org")
    assert flags(lan=True).url(CONFIG) is None
    assert flags(lan=True).join(CONFIG) == "p2pxfer receive"


def test_this_network_or_a_rendezvous():
    """Both at once make no sense."""
    with pytest.raises(UsageError, match="--lan and --rendezvous"):
        flags(lan=True, rendezvous="https://x").url(Config())


def test_the_other_side_is_told_the_rendezvous_unless_it_is_set_up():
    """What is in the configuration is taken to be on both machines."""
    assert flags().join(CONFIG) == "p2pxfer receive"
    assert flags(rendezvous=CONFIG.rendezvous).join(CONFIG) == "p2pxfer receive"
    assert flags(rendezvous="https://x").join(CONFIG) == "p2pxfer receive -r https://x"


def test_ice_servers_of_the_flags_replace_those_of_the_configuration():
    """Credentials go to TURN servers only."""
    assert flags().servers(CONFIG) == (IceServer(("turn:config.example.org",), "me", "hunter2"),)
    assert flags(ice_servers=("stun:a",)).servers(CONFIG) == (IceServer(("stun:a",)),)


@pytest.mark.parametrize("way", ["file", "environment"])
def test_turn_credentials_come_from_a_file_or_the_environment(way, monkeypatch, tmp_path):
    """The password may hold colons."""
    path = None
    if way == "file":
        path = tmp_path / "turn"
        path.write_text("me:hunter:2\n")
        path.chmod(0o600)
    else:
        monkeypatch.setenv("P2PXFER_ICE_CREDENTIALS", "me:hunter:2")
    servers = flags(ice_servers=("stun:a", "turn:b"), ice_credentials_file=path).servers(Config())
    assert servers == (IceServer(("stun:a",)), IceServer(("turn:b",), "me", "hunter:2"))


def test_a_password_in_argv_is_refused_and_not_repeated():
    """Every user of the machine can read argv; the error does not spread it further."""
    with pytest.raises(UsageError, match="can be seen by every user") as refused:
        flags(ice_servers=("turn:me:hunter2@b",)).servers(Config())
    assert "hunter2" not in refused.value.message + refused.value.hint
    assert "--ice-credentials-file" in refused.value.hint


def test_credentials_that_others_may_read_are_refused(tmp_path):
    """As with keys of ssh."""
    path = tmp_path / "turn"
    path.write_text("me:hunter2")
    path.chmod(0o644)
    with pytest.raises(LocalFileError, match="holds a secret"):
        flags(ice_servers=("turn:b",), ice_credentials_file=path).servers(Config())


def test_credentials_without_a_colon_are_no_credentials(monkeypatch):
    """And what they are is not shown."""
    monkeypatch.setenv("P2PXFER_ICE_CREDENTIALS", "hunter2")
    with pytest.raises(UsageError, match="USER:PASSWORD") as refused:
        flags(ice_servers=("turn:b",)).servers(Config())
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("512", 512), ("500M", 500_000_000), ("1.5 GB", 1_500_000_000), ("2gib", 2 << 30)],
)
def test_a_size_is_typed_as_people_type_it(text, count):
    """Decimal units, binary ones with an i."""
    assert byte_count(text) == count


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5H", 5400), ("2d", 172_800)]
)
def test_a_time_is_typed_as_people_type_it(text, value):
    """Seconds unless a unit is given."""
    assert seconds(text) == value


@pytest.mark.parametrize("read", [byte_count, seconds])
@pytest.mark.parametrize("text", ["", "x", "-1", "1 fortnight", "nan", "1e3"])
def test_nonsense_is_refused_with_an_example(read, text):
    """The hint shows what one looks like."""
    with pytest.raises(UsageError, match="not a ") as refused:
        read(text)
    assert "looks like" in refused.value.hint


def test_no_time_at_all_is_refused():
    """A code that lives for no time helps nobody."""
    with pytest.raises(UsageError, match="not a time"):
        seconds("0s")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "can't read"), (b"", "no such thing"), (b"\xff", "not text"), (b"x" * 5000, "no such")],
)
def test_a_secret_is_read_from_a_small_text_file_only(tmp_path, content, said):
    """Anything else is named and not shown."""
    path = tmp_path / "code"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LocalFileError, match=said):
        secret_file(path)


def test_a_secret_is_the_first_line(tmp_path):
    """Without the space around it."""
    path = tmp_path / "code"
    path.write_text("  7-orbit-lamp \nnotes\n")
    assert secret_file(path) == "7-orbit-lamp"


@pytest.mark.parametrize("other", ["json", "verbose"])
def test_quiet_contradicts(other):
    """Nobody knows what is meant."""
    given = {"quiet": True, "json": False, "verbose": False, other: True}
    with pytest.raises(UsageError, match="--quiet"):
        OutputFlags(**given).check()


def test_a_limit_is_bytes_per_second():
    """From the flag, else from the configuration; none is none."""
    noon = time(12, 0)
    assert flags().restraint(Config()) is None
    wished = flags(limit="2M").restraint(Config(limit="1M"))
    assert (wished.limit.rate_at(noon), wished.background) == (2e6, False)
    assert flags().restraint(Config(limit="1MiB")).limit.rate_at(noon) == 1024**2
    assert flags(limit="off").restraint(Config(limit="1M")).limit.rate_at(noon) == math.inf


def test_the_background_is_a_wish_of_its_own():
    """By flag or configuration, with or without a limit."""
    assert flags(background=True).restraint(Config()).background
    assert flags(limit="2M").restraint(Config(background=True)).background


@pytest.mark.parametrize("limit", ["fast", "2X", "8-18=2M", "1k", ""])
def test_a_limit_that_is_none_is_refused(limit):
    """With an example of one."""
    with pytest.raises(UsageError, match="not a limit") as refused:
        flags(limit=limit).restraint(Config())
    assert "08:00-18:00=2M" in str(refused.value.hint)
