"""The application: commands, ``--help``, ``--version``, and how a process ends.

A command imports what it needs when it runs, so that ``--help`` answers at once.
"""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import gc
import os
import sys
import threading
from typing import Annotated, NoReturn

import typer

from p2pxfer import __version__
from p2pxfer.cli.camera import camera
from p2pxfer.cli.clean import clean
from p2pxfer.cli.doctor import doctor
from p2pxfer.cli.manual import EXIT_CODES, OVERVIEW, GroupedCommand, Overview
from p2pxfer.cli.receive import receive
from p2pxfer.cli.send import send
from p2pxfer.cli.serve import serve
from p2pxfer.errors import ExitCode

COMPLETIONS = ("--show-completion", "--install-completion")
SHELLS = ("bash", "zsh", "fish")
LOADING = (120_000, 20, 50)  # objects, rounds, rounds: nothing that a command loads is garbage
LAST_MOMENT = 0.2  # seconds that a worker thread has to end by itself

app = typer.Typer(
    name="p2pxfer",
    cls=Overview,
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
    version: Annotated[  # noqa: ARG001  # its callback does it  # its callback has done all there is to do
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Show the help when no command is named."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


app.command(cls=GroupedCommand, short_help="Send; shows a code.")(send)
app.command(cls=GroupedCommand, short_help="Receive; asks for the code.")(receive)
app.add_typer(camera, name="camera", short_help="See through another machine's camera.")
app.command(cls=GroupedCommand, short_help="Run a rendezvous for others to meet at.")(serve)
app.command(cls=GroupedCommand, short_help="Remove what unfinished transfers have left.")(clean)
app.command(cls=GroupedCommand, short_help="See what works here, and what to do.")(doctor)


def main() -> NoReturn:
    """The ``p2pxfer`` command."""
    gc.freeze()
    gc.set_threshold(*LOADING)
    _leave(_exit_code())


def _exit_code() -> int:
    wanted, shell = (*sys.argv[1:], "", "")[:2]
    if wanted in COMPLETIONS and shell in SHELLS:
        return _completion(wanted, shell)
    try:
        result = app(standalone_mode=False)
    except typer.TyperException as error:
        return _refused(error)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # `p2pxfer --help | head`: who asked has seen enough
        return ExitCode.DONE
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
