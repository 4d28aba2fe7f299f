"""``p2pxfer camera serve``: share cameras, clips or the test pattern."""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct
from msgspec.structs import replace

from p2pxfer.cli.camera_flags import (
    SOURCE,
    AudioFlag,
    ClipsFlag,
    DevicesFlag,
    Facing,
    FacingFlag,
    HeightFlag,
    MicrophoneFlag,
    RateFlag,
    WidthFlag,
)
from p2pxfer.cli.network_flags import (
    IceCredentialsFlag,
    IceServerFlag,
    LanFlag,
    NetworkFlags,
    RelayOnlyFlag,
    RendezvousFlag,
)
from p2pxfer.cli.options import (
    CODE,
    CodeFileFlag,
    JsonFlag,
    OutputFlags,
    QuietFlag,
    VerboseFlag,
    VerifyFlag,
    WaitFlag,
    secret_file,
)
from p2pxfer.cli.quantities import seconds
from p2pxfer.errors import UsageError

if TYPE_CHECKING:
    from p2pxfer.cli.render import Renderer

WORDS = 2


class Codec(StrEnum):
    """How pictures are encoded, by preference."""

    VP8 = "vp8"
    H264 = "h264"


def serve(
    *,
    device: DevicesFlag = None,
    from_: ClipsFlag = None,
    loop: Annotated[
        bool,
        typer.Option("--loop", help="Begin a clip again at its end.", rich_help_panel=SOURCE),
    ] = False,
    audio: AudioFlag = False,
    microphone: MicrophoneFlag = None,
    width: WidthFlag = None,
    height: HeightFlag = None,
    rate: RateFlag = None,
    facing: FacingFlag = None,
    codec: Annotated[
        Codec,
        typer.Option(
            "--codec",
            metavar="NAME",
            help="vp8 or h264, where the other side has both.",
            show_default=True,
            rich_help_panel=SOURCE,
        ),
    ] = Codec.VP8,
    once: Annotated[
        bool,
        typer.Option("--once", help="End when the first watcher has left.", rich_help_panel=CODE),
    ] = False,
    words: Annotated[
        int | None,
        typer.Option(
            "--words",
            metavar="N",
            help="How many words the code has, 2 unless given.",
            rich_help_panel=CODE,
        ),
    ] = None,
    code_file: CodeFileFlag = None,
    code_out: Annotated[
        Path | None,
        typer.Option(
            "--code-out",
            metavar="FILE",
            help="Write each code into a file that you alone can read.",
            rich_help_panel=CODE,
        ),
    ] = None,
    wait: WaitFlag = "1h",
    verify: VerifyFlag = False,
    rendezvous: RendezvousFlag = None,
    lan: LanFlag = False,
    ice_server: IceServerFlag = None,
    ice_credentials_file: IceCredentialsFlag = None,
    relay_only: RelayOnlyFlag = False,
    quiet: QuietFlag = False,
    verbose: VerboseFlag = False,
    json: JsonFlag = False,
) -> int:
    """Share a camera, a clip or a test pattern, or several; shows a code for whoever is to see it.

    A device is opened when somebody with the code asks for it, and free once they leave. Then
    there is a fresh code for the next, until Ctrl-C; a rendezvous that goes away is waited for.
    While somebody watches, v mutes the camera and m the microphone, or no longer; SIGUSR1 mutes
    both at any time, and SIGUSR2 neither.
    """
    from p2pxfer.cli.run import run
    from p2pxfer.cli.scene import Scene

    output = OutputFlags(quiet=quiet, verbose=verbose, json=json)
    scene = Scene(
        sending=True,
        verbose=verbose,
        code_known=code_file is not None,
        join="p2pxfer camera snap",
        own="p2pxfer camera serve",
        camera=True,
    )
    renderer = output.renderer(scene)
    order = Order(
        devices=tuple(device or ()),
        clips=tuple(from_ or ()),
        loop=loop,
        audio=audio,
        microphone=microphone,
        width=width,
        height=height,
        rate=rate,
        facing=facing,
        codec=codec,
        once=once,
        words=words,
        code_file=code_file,
        code_out=code_out,
        wait=wait,
        verify=verify,
        network=NetworkFlags(
            rendezvous=rendezvous,
            lan=lan,
            ice_servers=tuple(ice_server or ()),
            ice_credentials_file=ice_credentials_file,
            relay_only=relay_only,
        ),
        output=output,
    )
    return run(renderer, lambda: order.carry_out(renderer))


class Order(Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    devices: tuple[str, ...]
    clips: tuple[str, ...]
    loop: bool
    audio: bool
    microphone: str | None
    width: int | None
    height: int | None
    rate: float | None
    facing: Facing | None
    codec: Codec
    once: bool
    words: int | None
    code_file: Path | None
    code_out: Path | None
    wait: str
    verify: bool
    network: NetworkFlags
    output: OutputFlags

    async def carry_out(self, renderer: Renderer) -> None:
        """Share it.

        Raises:
            TransferError: why it ended.
        """
        from p2pxfer.cli.answers import Answers
        from p2pxfer.cli.camera_desk import Desk
        from p2pxfer.cli.keyboard import terminal
        from p2pxfer.identity.config import load
        from p2pxfer.media.wanted import several
        from p2pxfer.pairing.code import MAX_WORDS, MIN_WORDS
        from p2pxfer.session.camera import serve as serve_session
        from p2pxfer.session.muting import Muting

        self.output.check()
        keyboard = terminal(input_is_data=False)
        if self.verify and keyboard is None:
            raise UsageError(
                "--verify needs a terminal, where somebody compares words", "leave out --verify"
            )
        if self.words is not None and not MIN_WORDS <= self.words <= MAX_WORDS:
            raise UsageError(
                f"a code has {MIN_WORDS} to {MAX_WORDS} words, not {self.words}",
                "give another --words",
            )
        if self.code_file is not None and (self.words or self.code_out):
            raise UsageError(
                "--words and --code-out are for a code that is drawn, not for your own",
                "leave them out, or leave out --code-file",
            )
        config = load()
        join = self.network.join(config, renderer.scene.join)
        renderer.scene = replace(renderer.scene, join=join)
        code = None
        if self.code_file is not None:
            code = secret_file(self.code_file, refuse=renderer.warn_if_others_may_read)
        muting = Muting()
        desk = Desk(renderer, muting, keyboard)
        await serve_session(
            several(
                self.devices,
                self.clips,
                loop=self.loop,
                microphone=self.microphone,
                audio=self.audio,
                width=self.width,
                height=self.height,
                rate=self.rate,
                facing=self.facing.value if self.facing is not None else None,
            ),
            network=self.network.network(config),
            code=code,
            words=self.words or WORDS,
            wait=seconds(self.wait),
            once=self.once,
            verify=self.verify,
            code_out=self.code_out,
            codec="H264" if self.codec is Codec.H264 else "VP8",
            muting=muting,
            progress=desk,
            interaction=Answers(renderer, keyboard),
        )
