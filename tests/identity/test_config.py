"""The configuration file: what it may say, and how it says no."""

from __future__ import annotations

import pytest

from p2pxfer.errors import LocalFileError, UsageError
from p2pxfer.identity.config import Config, IceServerConfig, config_path, load

WHOLE = """
rendezvous = "https://meet.example.org"
relay_only = true
limit = "2M"
background = true
output = "~/Downloads"
existing = "rename"

[[ice_servers]]
urls = "stun:stun.example.org"

[[ice_servers]]
urls = ["turn:turn.example.org", "turns:turn.example.org:5349?transport=tcp"]
username = "me"
credential = "hunter2"
"""


@pytest.fixture
def written(tmp_path):
    """Writes a configuration that only its owner may read."""

    def write(text: str, mode: int = 0o600):
        path = tmp_path / "config.toml"
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def test_no_file_is_an_empty_configuration(tmp_path):
    """Most machines have none, and everything works."""
    assert load(tmp_path / "none.toml") == Config()


def test_everything_it_may_say_is_read(written, monkeypatch, tmp_path):
    """Each key arrives as a value of the right type; ~ is the home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(written(WHOLE)) == Config(
        rendezvous="https://meet.example.org",
        relay_only=True,
        limit="2M",
        background=True,
        output=tmp_path / "Downloads",
        existing="rename",
        ice_servers=(
            IceServerConfig(("stun:stun.example.org",)),
            IceServerConfig(
                ("turn:turn.example.org", "turns:turn.example.org:5349?transport=tcp"),
                "me",
                "hunter2",
            ),
        ),
    )


def test_a_credential_is_never_shown():
    """Neither of a server nor of the whole configuration."""
    server = IceServerConfig(("turn:x",), "me", "hunter2")
    assert "hunter2" not in repr(server)
    assert "hunter2" not in repr(Config(ice_servers=(server,)))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('rendevous = "x"', "no such setting: rendevous"),
        ('[[ice_servers]]\nurls = "stun:x"\npassword = "y"', "ice_servers[0].password"),
        ('relay_only = "yes"', "relay_only must be true or false"),
        ("limit = 2", "limit must be a string"),
        ('background = "yes"', "background must be true or false"),
        ("rendezvous = 7", "rendezvous must be a string"),
        ('existing = "clobber"', "existing must be one of ask, overwrite"),
        ("[[ice_servers]]\nurls = [1]", "ice_servers[0].urls must be"),
        ('[[ice_servers]]\nusername = "me"', "ice_servers[0].urls must be one URL"),
        ('ice_servers = ["stun:x"]', "ice_servers must be written as [[ice_servers]]"),
        ("rendezvous = ", "is not TOML"),
    ],
)
def test_a_mistake_is_named(written, text, named):
    """The message says which file and which key, the hint what to do."""
    path = written(text)
    with pytest.raises(UsageError) as refused:
        load(path)
    assert named in refused.value.message
    assert str(path) in refused.value.message
    assert str(path) in refused.value.hint


def test_bytes_that_are_no_text_are_not_toml(tmp_path):
    """A binary file is refused like any other that isn't TOML."""
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not TOML"):
        load(path)


def test_a_huge_file_is_not_read_into_memory(tmp_path):
    """A path that leads to something else entirely is refused by its size."""
    path = tmp_path / "config.toml"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(UsageError, match="too large"):
        load(path)


def test_a_folder_in_its_place_is_a_local_error(tmp_path):
    """It can't be read, and says so."""
    with pytest.raises(LocalFileError, match="can't read"):
        load(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_credential_that_others_can_reach_is_refused(written, mode):
    """The hint is the command that mends it."""
    path = written(WHOLE, mode)
    with pytest.raises(LocalFileError, match="holds a secret") as refused:
        load(path)
    assert refused.value.hint == f"type: chmod 600 {path}"


def test_without_a_credential_anybody_may_read_it(written):
    """A configuration that holds no secret needs no care."""
    assert load(written('rendezvous = "x"', 0o644)).rendezvous == "x"


def test_it_lives_where_the_system_keeps_such_things(monkeypatch, tmp_path):
    """On Linux that follows XDG_CONFIG_HOME."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert config_path().name == "config.toml"
    assert config_path().is_relative_to(tmp_path)
