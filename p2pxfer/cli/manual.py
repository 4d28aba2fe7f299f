"""Manual: how ``--help`` is laid out.

Options stand in groups, and the exit codes at the end; plain text, so that no markup library is
loaded for it.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from p2pxfer.identity.config import config_path

OVERVIEW = """\
Send files, folders and streams straight from one machine to another.

\b
  p2pxfer send photos report.pdf     shows a code
  p2pxfer receive                    asks for it, on the other machine"""

EXIT_CODES = """\b
Exit codes:
    0  done
    1  unexpected: please report it
    2  usage
    3  wrong code, or the words were not confirmed
    4  the other side never came, or went away      (try again)
    5  no connection between the two sides          (try again)
    6  the rendezvous can't be reached              (try again)
    7  what arrived is not what was sent
    8  local files or devices: missing, permission, no space
    9  partly done: some entries were skipped or failed
   10  declined by the receiver
  130  interrupted"""

PLAIN = "Options"
COLUMN = 30  # columns of an option and its value


class Overview(TyperGroup):
    """The list of commands, and under it the exit codes and where the configuration is."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write what stands under the commands."""
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"\b\nConfiguration:\n    {config_path()}")


class GroupedCommand(TyperCommand):
    """A command whose options are listed under the headings they were given."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then the groups in the order of their first option."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            heading = getattr(param, "rich_help_panel", None) or PLAIN
            name, text = record
            if param.param_type_name == "argument":
                heading, name = "Arguments", name.partition(" <")[0]
            groups.setdefault(heading, []).append((f"{name:<{COLUMN}}", text))
        plain = groups.pop(PLAIN, [])
        for heading, records in [*groups.items(), (PLAIN, plain)]:
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records, col_max=COLUMN)
