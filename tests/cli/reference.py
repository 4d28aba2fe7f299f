"""The command reference, written from the commands themselves.

``python tests/cli/reference.py`` writes ``docs/commands.md``; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.main import get_command

from p2pxfer.cli.app import app
from p2pxfer.cli.network_flags import ICE_CREDENTIALS_VARIABLE, RENDEZVOUS_VARIABLE
from p2pxfer.cli.options import CODE_VARIABLE

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
PLAIN = "Options"
TOP = """\
# Commands

What `--help` says, on one page. How they are used is in the [README](../README.md), with the exit
codes and the configuration file; the events of `--json` are in [ndjson.md](ndjson.md).

A TIME is `90s`, `10m`, `2h`, `1d`, or a number of seconds; a SIZE is `500M`, `1.5G`, `2GiB`; a
RATE is a SIZE per second, at least `16k`: `2M` is 2,000,000 bytes, `2MiB` is 2,097,152. An option
that is given twice counts as given last, unless it may be repeated.
"""
BOTTOM = f"""\
## Environment

| variable | what it does |
|---|---|
| `{CODE_VARIABLE}` | the code for `receive`, where other users can't see it |
| `{RENDEZVOUS_VARIABLE}` | where the two sides meet, unless `--rendezvous` says |
| `{ICE_CREDENTIALS_VARIABLE}` | `USER:PASSWORD` for the TURN servers of `--ice-server` |
| `NO_COLOR` | no colours |
| `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | the way to the rendezvous: web or SOCKS |
| `XDG_CONFIG_HOME` | where `p2pxfer/config.toml` lies |
| `XDG_STATE_HOME` | where `p2pxfer/` lies, with what unfinished transfers need to go on |
"""


def page() -> str:
    """The whole reference."""
    root: Any = get_command(app)
    above = root.make_context("p2pxfer", [], resilient_parsing=True)
    parts = [TOP, section(root, above)]
    parts += below(root, above)
    return "\n".join([*parts, BOTTOM])


def below(group: Any, above: Any) -> list[str]:
    """The commands of a group, and those of groups in it."""
    parts: list[str] = []
    for name, command in group.commands.items():
        context = command.make_context(name, [], parent=above, resilient_parsing=True)
        parts.append(section(command, context))
        parts += below(command, context) if hasattr(command, "commands") else []
    return parts


def section(command: Any, context: Any) -> str:
    """One command: what it does, and its options in the groups of ``--help``."""
    groups: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        heading = getattr(parameter, "rich_help_panel", None) or PLAIN
        name, text = record
        if parameter.param_type_name == "argument":
            heading, name = "Arguments", name.partition(" <")[0]
        row = f"| `{cell(name)}` | {cell(text)} |"
        groups.setdefault(heading, []).append(row)
    plain = groups.pop(PLAIN, [])
    title = context.command_path
    shown = f"## {title}\n\n"
    if context.parent is not None:
        usage = " ".join(command.collect_usage_pieces(context))
        what = "\n\n".join(" ".join(part.split()) for part in command.help.split("\n\n"))
        shown += f"    {title} {usage}\n\n{what}\n\n"
    for heading, rows in [*groups.items(), (PLAIN, plain)]:
        if rows:
            shown += f"| {heading} | |\n|---|---|\n" + "\n".join(rows) + "\n\n"
    return shown.removesuffix("\n")


def cell(text: str) -> str:
    """``text`` in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
