"""The command itself: help, completion, command lines that make no sense, exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from p2pxfer import __version__
from p2pxfer.errors import ExitCode

HELP_BUDGET = 0.15  # seconds of a processor, or
HELP_SHARE = 2.0  # times what loading Typer alone takes, on a slower machine or a busy one
FEW_COLLECTIONS = 10  # the interpreter's own, before a command begins; there were thirty
HEAVY = {"asyncio", "aiohttp", "aiortc", "cryptography", "mnemonic", "rich", "tqdm", "spake2"}
HEAVY |= {"h11", "json", "p2pxfer.progress"}  # dozens of records

LOADED = """
import gc, os, runpy, sys

def collections():
    return sum(generation["collections"] for generation in gc.get_stats())

def end(code, begun=collections(), leave=os._exit):
    print(collections() - begun, *sys.modules, file=sys.stderr)
    leave(code)

os._exit, sys.argv = end, ["p2pxfer", "--help"]
runpy.run_module("p2pxfer", run_name="__main__")
"""


def p2pxfer(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The command, away from any terminal and with nothing configured."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("P2PXFER_")}
    return subprocess.run(
        [sys.executable, "-m", "p2pxfer", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**environ, "COLUMNS": "80", **env},
    )


def test_help_lists_commands_and_exit_codes():
    """The numbers are those of the error tree, all of them."""
    shown = p2pxfer("--help")
    assert shown.returncode == 0
    for command in ("send", "receive", "serve"):
        assert f"\n  {command} " in shown.stdout
    codes = shown.stdout.partition("Exit codes:")[2]
    listed = [int(line.split()[0]) for line in codes.splitlines() if line[:8].strip().isdigit()]
    assert listed == [int(code) for code in ExitCode]


def test_help_tells_where_the_configuration_is(tmp_path):
    """As this system has it."""
    shown = p2pxfer("--help", HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path / "c"))
    assert str(tmp_path) in shown.stdout
    assert "config.toml" in shown.stdout


def test_help_answers_at_once():
    """Nothing that pairs, connects or draws is loaded for it."""

    def spent(*words: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, *words], capture_output=True, check=True)
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])  # of children, in the program and the system

    tries = [(spent("-c", "import typer"), spent("-m", "p2pxfer", "--help")) for _ in range(5)]
    typer, shown = (min(column) for column in zip(*tries, strict=True))
    assert shown < max(HELP_BUDGET, HELP_SHARE * typer), tries
    said = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    ).stderr
    collections, *loaded = said.split()
    assert HEAVY.isdisjoint(loaded)
    assert int(collections) < FEW_COLLECTIONS  # there is no garbage to look for


@pytest.mark.parametrize("command", ["send", "receive", "serve"])
def test_every_option_of_a_command_is_explained_under_a_heading(command):
    """No option without a sentence, no line wider than 80 columns, no type names."""
    shown = p2pxfer(command, "--help").stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert not re.search(r"<[a-z]", shown)
    assert "Network:" in shown or command == "serve"


def test_no_command_shows_the_help():
    """And is a mistake, for scripts."""
    shown = p2pxfer()
    assert shown.returncode == ExitCode.USAGE
    assert "Commands:" in shown.stdout


def test_the_version_is_told():
    """On standard output, for scripts."""
    assert p2pxfer("--version").stdout == f"p2pxfer {__version__}\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("snd", "no such command 'snd'"),
        ("send --foo", "no such option: --foo"),
        ("send", "nothing to send"),
        ("send - more", "- goes alone"),
        ("send x --text y", "--text goes alone"),
        ("send x --name y", "--name is for standard input"),
        ("send x --code a --code-file b", "exclude each other"),
        ("send x --code a --words 3", "for a code that is drawn"),
        ("send x --code-out y --code-file b", "for a code that is drawn"),
        ("send x -r http://127.0.0.1:9 --words 1", "a code has 2 to"),
        ("send x -r http://127.0.0.1:9 --wait soon", "not a time: soon"),
        ("send x -r http://127.0.0.1:9 --verify", "--verify needs a terminal"),
        ("send x --symlinks melt", "melt"),
        ("send x --code-out y --lan -r http://127.0.0.1:9", "exclude each other"),
        ("send --text y --code aN8fm2Lq0ZxT7vKp3RwYc5Bd", "needs a rendezvous, and none is known"),
        ("send x --quiet --json", "--quiet goes with neither"),
        ("receive 7-orbit-lamp", "nobody is at a terminal"),
        ("receive -y 7-orbit-lamp", "needs a rendezvous, and none is known"),
        ("receive -y 412-orbit-lamp@example.org:http", "the address of the rendezvous is none"),
        ("receive -y -r http://127.0.0.1:9", "no code was given"),
        ("receive -y -r http://127.0.0.1:9 ' '", "no code was given"),
        ("receive -y 7-orbit-lamp --code-file x", "the code is given twice"),
        ("receive -y 7-orbit-lamp --existing ask", "--existing ask needs a terminal"),
        ("receive -y 7-orbit-lamp --verify", "--verify needs a terminal"),
        ("receive -y 7-orbit-lamp -r http://127.0.0.1:9 --max-size big", "not a size: big"),
        ("receive -y 7-orbit-lanp -r http://127.0.0.1:9", "not in the word list"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_hint(line, said, tmp_path):
    """Exit 2, nothing on standard output, what is wrong and what to type."""
    done = p2pxfer(*shlex.split(line), HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path))
    if "--json" in line.split():
        error = json.loads(done.stdout)
        assert said in error["message"]
    else:
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert said in done.stderr
        assert "\nhint: " in done.stderr
    assert done.returncode == ExitCode.USAGE


def test_an_error_is_an_event_under_json(tmp_path):
    """Standard error stays empty."""
    done = p2pxfer("send", "--json", HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path))
    error = json.loads(done.stdout)
    assert (error["event"], error["code"], error["name"]) == ("error", 2, "UsageError")
    assert done.stderr == ""


def test_events_go_to_standard_error_when_data_goes_out(tmp_path):
    """So that a pipe holds bytes of the transfer and nothing else."""
    done = p2pxfer("receive", "-y", "-o", "-", "--json", "7-orbit-lamp", HOME=str(tmp_path))
    assert done.stdout == ""
    assert json.loads(done.stderr)["event"] == "error"


@pytest.mark.parametrize("way", ["argument", "file", "environment"])
def test_a_code_comes_from_three_places(way, tmp_path):
    """Each of them reaches the check of its words, before anything is sent anywhere."""
    path = tmp_path / "code"
    path.write_text("7-orbit-lanp\n")
    arguments = {"argument": ["7-orbit-lanp"], "file": ["--code-file", str(path)]}.get(way, [])
    env = {"P2PXFER_CODE": "7-orbit-lanp"} if way == "environment" else {}
    done = p2pxfer("receive", "-y", "-r", "http://127.0.0.1:9", *arguments, **env)
    assert "not in the word list" in done.stderr
    assert "lanp" not in done.stderr
    warned = "other users of this machine may read it" in done.stderr
    assert warned == (way == "file")


def test_the_configuration_is_read_and_its_mistakes_are_named(tmp_path):
    """A misspelt key is not ignored."""
    folder = tmp_path / "p2pxfer"
    folder.mkdir()
    (folder / "config.toml").write_text('rendevous = "https://x"\n')
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = p2pxfer("send", "x", **env)
    assert done.returncode == ExitCode.USAGE
    assert "no such setting: rendevous" in done.stderr


@pytest.mark.parametrize(
    ("shell", "env"),
    [
        ("bash", {"COMP_WORDS": "p2pxfer receive 7-orbi", "COMP_CWORD": "2"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "p2pxfer receive 7-orbi"}),
        (
            "fish",
            {
                "_TYPER_COMPLETE_ARGS": "p2pxfer receive 7-orbi",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
        ),
    ],
)
def test_shells_complete_the_words_of_a_code(shell, env):
    """Tab after four letters gives the word."""
    installed = Path(sys.executable).with_name("p2pxfer")
    done = subprocess.run(
        [installed],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "_P2PXFER_COMPLETE": f"complete_{shell}", **env},
    )
    assert "7-orbit" in done.stdout


@pytest.mark.parametrize(
    ("shell", "sign"),
    [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete -")],
)
def test_completion_is_shown_for_the_shell_that_is_named(shell, sign):
    """Whichever shell calls."""
    assert sign in p2pxfer("--show-completion", shell).stdout


def test_shells_without_completion_are_named():
    """Rather than to install that of another one."""
    done = p2pxfer("--install-completion", "tcsh")
    assert done.returncode == 2
    assert "bash, zsh, fish" in done.stderr


def test_bash_completes_the_words_of_a_code(watch, tmp_path):
    """The real shell, Tab pressed: it ends the word that is clear, and knows options."""
    seen = watch(
        command=[
            "-c",
            "import os; os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])",
        ],
        HOME=str(tmp_path),
        PS1="$ ",
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    )
    seen.type("source <(p2pxfer --show-completion bash); echo re''ady\r")
    seen.until("ready")
    seen.type("p2pxfer receive 7-orbi\t")
    seen.until("p2pxfer receive 7-orbit-")
    seen.type("lamp --resu\t")
    seen.until("p2pxfer receive 7-orbit-lamp --resume")
    seen.type("\x15exit\r")
    assert seen.end() == 0


def test_a_closed_standard_output_is_no_accident():
    """`p2pxfer --help | true` says nothing."""
    command = f"{sys.executable} -m p2pxfer --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_missing_streams_are_no_accident():
    """Some schedulers start commands without them: the exit code is the same."""
    for line, code in (("--help >&-", 0), ("--version >&- 2>&-", 0), ("nonsense 2>&-", 2)):
        command = f"{sys.executable} -m p2pxfer {line}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (code, "")


def test_ctrl_c_while_it_loads_is_quiet():
    """As at any other time it ends with 130."""
    code = """
import sys

class Pressing:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Pressing())
from p2pxfer.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_the_code_is_asked_for_in_the_real_command(watch, tmp_path):
    """In a terminal `receive` prompts, and Ctrl-D there is a usage error that says what to type."""
    seen = watch(
        command=["-m", "p2pxfer", "receive", "-r", "http://127.0.0.1:9"], HOME=str(tmp_path)
    )
    seen.until("Code:")
    seen.type("7 orbi\t")
    seen.until("Code: 7-orbit")
    seen.type("\x15\x04")
    assert seen.end() == ExitCode.USAGE
    assert "error: no code was given" in seen.lines
