"""The application: commands, ``--help``, ``--version``, and how a process ends.

A command is loaded when it is typed, and imports what it needs when it runs.
"""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command

from p2pxfer import __version__
from p2pxfer.cli.manual import EXIT_CODES, OVERVIEW, GroupedCommand, Overview
from p2pxfer.errors import ExitCode

# What the list of commands says of each; it lives in the module of that name.
COMMANDS = {
    "send": "Send; shows a code.",
    "receive": "Receive; asks for the code.",
    "serve": "Run a rendezvous for others to meet at.",
    "clean": "Remove what unfinished transfers have left.",
    "doctor": "See what works here, and what to do.",
    "camera": "See through another machine's camera.",
}
COMPLETIONS = ("--show-completion", "--install-completion")
SHELLS = ("bash", "zsh", "fish")
LAST_MOMENT = 0.2  # seconds that a worker thread has to end by itself


class Commands(Mapping[str, Any]):
    """The commands, each loaded when it is looked up: the one that is typed, or all for a list."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return _command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Application(Overview):
    """The whole of it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands()  # type: ignore[assignment]  # it is read, and not written


app = typer.Typer(
    name="p2pxfer",
    cls=Application,
    help=OVERVIEW,
    epilog=EXIT_CODES,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:  # the shape of an option's callback
    if wanted:
        typer.echo(f"p2pxfer {__version__}")
        raise typer.Exit


@app.callback()
def _p2pxfer(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  # its callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Show the help when no command is named."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


@cache
def _command(name: str) -> Any:
    what = getattr(import_module(f"p2pxfer.cli.{name}"), name)
    if not isinstance(what, typer.Typer):  # else it has commands of its own
        function, what = what, typer.Typer(add_completion=False, rich_markup_mode=None)
        what.command(name, cls=GroupedCommand)(function)
    made = get_command(what)
    made.name, made.short_help = name, COMMANDS[name]
    return made


def main() -> NoReturn:
    """The ``p2pxfer`` command."""
    _open_closed_streams()
    _leave(_exit_code())


def _open_closed_streams() -> None:
    """Some schedulers start commands without them: then nobody reads what is said.

    Data that is to go to standard output is refused there: nobody is told that it has arrived.
    """
    for name, number, flags in (("stdout", 1, os.O_RDONLY), ("stderr", 2, os.O_WRONLY)):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, flags)
            if null != number:  # no file may ever come to be that descriptor
                os.dup2(null, number)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))


def _exit_code() -> int:
    wanted, shell = (*sys.argv[1:], "", "")[:2]
    if wanted in COMPLETIONS and shell in SHELLS:
        return _completion(wanted, shell)
    if wanted in COMPLETIONS and shell:
        return _refused(typer.BadParameter(f"there is completion for {', '.join(SHELLS)}"))
    try:
        result = app(standalone_mode=False)
    except typer.TyperException as error:
        return _refused(error)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EBADF):  # `p2pxfer --help | head`: seen enough
            return ExitCode.DONE
        raise
    return result if isinstance(result, int) else ExitCode.DONE


def _completion(wanted: str, shell: str) -> int:
    """Completion for a shell that is named; without a name it is for the one that called."""
    from typer._completion_shared import get_completion_script, install

    if wanted == "--install-completion":
        _, path = install(shell=shell, prog_name="p2pxfer")
        typer.echo(f"{shell} completion installed in {path}; new terminals have it")
    else:
        variable = "_P2PXFER_COMPLETE"
        typer.echo(get_completion_script(prog_name="p2pxfer", complete_var=variable, shell=shell))
    return ExitCode.DONE


def _refused(error: typer.TyperException) -> int:
    """Say what is wrong with the command line, in the words and colours of any other error."""
    from p2pxfer.cli.screen import Screen
    from p2pxfer.cli.sentences import error_lines
    from p2pxfer.errors import UsageError

    message = error.format_message()
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "p2pxfer"
    screen = Screen(sys.stderr)
    message = message[0].lower() + message[1:].rstrip(".")
    screen.write(error_lines(screen, UsageError(message, f"see {command} --help")))
    screen.close()
    return ExitCode.USAGE


def _leave(code: int) -> NoReturn:
    flushing = threading.Thread(target=_flush)  # whoever should read may have stopped to
    flushing.start()
    if code == ExitCode.DONE:
        flushing.join()
    others = set(threading.enumerate()) - {threading.main_thread()}
    workers = [thread for thread in others if not thread.daemon]
    for thread in workers:
        thread.join(LAST_MOMENT)
    # Not sys.exit: a thread may be in a read or write of a pipe that nothing can end, and taking
    # the interpreter apart takes a fifth of a second, with nothing left in it that matters.
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # its reader is gone; keep the interpreter from trying once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
