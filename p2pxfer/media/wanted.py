"""What somebody wants shown: a camera and how it is to be set, a clip, or the test pattern.

Several of them can be shown at once. The constraints are those of getUserMedia (W3C Media Capture
and Streams, section 4): each is an ideal, and the device does what comes closest. Values only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from p2pxfer.errors import UsageError

TEST: Final = "test:"  # what stands for the pattern where a clip could stand
WIDTH: Final = 640
HEIGHT: Final = 480
RATE: Final = 30.0
LARGEST: Final = 4096  # pixels of a side
SMALLEST: Final = 16
FASTEST: Final = 120.0  # pictures a second
MOST: Final = 7  # cameras and clips at once; with sound as many tracks as one connection has

Facing = Literal["user", "environment"]


class Wanted(Struct, frozen=True, kw_only=True):
    """What to show.

    Attributes:
        clip: a file to play as if it were live, ``test:`` for the pattern; None for a camera.
        loop: whether a clip begins again at its end.
        device: which camera: a path, a name or a part of it, or a number of the list.
        microphone: which microphone, as ``device``; None for the usual one.
        audio: whether sound is shared, too.
        width: in pixels; None for what the source has.
        height: in pixels, or None.
        rate: pictures a second, or None.
        facing: which way the camera looks.
    """

    clip: str | None = None
    loop: bool = False
    device: str | None = None
    microphone: str | None = None
    audio: bool = False
    width: int | None = None
    height: int | None = None
    rate: float | None = None
    facing: Facing | None = None

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            UsageError: with what to type instead.
        """
        for name, side in (("--width", self.width), ("--height", self.height)):
            if side is not None and not SMALLEST <= side <= LARGEST:
                raise UsageError(
                    f"{name} {side} is no size of a picture",
                    f"{SMALLEST} to {LARGEST} pixels can be",
                )
        if self.rate is not None and not 0 < self.rate <= FASTEST:
            raise UsageError(
                f"--rate {self.rate:g} is no number of pictures a second",
                f"at most {FASTEST:g} can be",
            )
        if self.clip is not None and (self.device or self.facing or self.microphone):
            raise UsageError(
                "--from takes no camera and no microphone",
                "leave out --from, or --device, --microphone and --facing",
            )
        if self.loop and self.clip in (None, TEST):
            raise UsageError("--loop is for a clip", "name one: --from clip.mp4 --loop")


def several(
    devices: Sequence[str],
    clips: Sequence[str],
    *,
    loop: bool,
    microphone: str | None,
    facing: Facing | None,
    audio: bool,
    width: int | None,
    height: int | None,
    rate: float | None,
) -> tuple[Wanted, ...]:
    """What is shown where cameras and clips are named: those cameras, then those clips.

    What is for cameras goes to them, and what is for clips to those; where there is none of the
    kind, it goes to the others, whose `Wanted.check` then says what is wrong. Without any names it
    is the camera that the system has first, or that looks that way.
    """
    common = Wanted(audio=audio, width=width, height=height, rate=rate)
    played = any(clip != TEST for clip in clips)
    names: list[str | None] = [*devices] or ([] if clips else [None])
    cameras = [
        replace(common, device=name, microphone=microphone, facing=facing, loop=loop and not played)
        for name in names
    ]
    if not cameras:
        common = replace(common, microphone=microphone, facing=facing)
    return (
        *cameras,
        *(replace(common, clip=clip, loop=loop and (clip != TEST or not played)) for clip in clips),
    )


def check(wanted: Sequence[Wanted]) -> None:
    """Refuse what makes no sense, or is too much.

    Raises:
        UsageError: with what to type instead.
    """
    if not 1 <= len(wanted) <= MOST:
        raise UsageError(f"{len(wanted)} cameras can't be shown", f"1 to {MOST} can be")
    for each in wanted:
        each.check()


def picked(names: Sequence[str], asked: str) -> int | None:
    """Which of ``names`` is meant: by its number from 1, its name, or a part of that."""
    if asked.isdecimal() and 0 < int(asked) <= len(names):
        return int(asked) - 1
    part = asked.lower()
    return next(
        (
            number
            for number, name in sorted(enumerate(names), key=lambda item: item[1] != asked)
            if part in name.lower()
        ),
        None,
    )
