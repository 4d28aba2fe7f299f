"""The flags that say what a camera command is about: getUserMedia's constraints, by their names."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

SOURCE = "What others see"

DeviceFlag = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Which camera: a name or part of it, a path, or its number in the list.",
        rich_help_panel=SOURCE,
    ),
]
DevicesFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Which camera: a name or part of it, a path, or its number in the list. "
        "May be repeated: all are shown at once.",
        rich_help_panel=SOURCE,
    ),
]
ClipsFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="A clip instead of a camera; test: for a test pattern with a tone. "
        "May be repeated, also beside --device.",
        rich_help_panel=SOURCE,
    ),
]
FromFlag = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="A clip instead of a camera; test: for a test pattern with a tone.",
        rich_help_panel=SOURCE,
    ),
]
WidthFlag = Annotated[
    int | None,
    typer.Option("--width", metavar="PIXELS", help="How wide.", rich_help_panel=SOURCE),
]
HeightFlag = Annotated[
    int | None,
    typer.Option("--height", metavar="PIXELS", help="How high.", rich_help_panel=SOURCE),
]
RateFlag = Annotated[
    float | None,
    typer.Option("--rate", metavar="N", help="How many pictures a second.", rich_help_panel=SOURCE),
]


class Facing(StrEnum):
    """Which way a camera looks, as getUserMedia calls it."""

    USER = "user"
    ENVIRONMENT = "environment"


FacingFlag = Annotated[
    Facing | None,
    typer.Option(
        "--facing",
        metavar="WAY",
        help="user or environment: the camera that looks that way.",
        rich_help_panel=SOURCE,
    ),
]
AudioFlag = Annotated[
    bool,
    typer.Option(
        "--audio",
        help="Share sound, too; that of the first, if several are shown.",
        rich_help_panel=SOURCE,
    ),
]
MicrophoneFlag = Annotated[
    str | None,
    typer.Option(
        "--microphone",
        metavar="NAME",
        help="Which microphone, as --device; else the usual one.",
        rich_help_panel=SOURCE,
    ),
]
CameraFlag = Annotated[
    str | None,
    typer.Option(
        "--camera",
        metavar="NAME",
        help="Which one, where several are shown: its number there, its name or a part of it; "
        "else all.",
        rich_help_panel="What is taken",
    ),
]
OverwriteFlag = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace files that are there.", rich_help_panel="Where it goes"
    ),
]
