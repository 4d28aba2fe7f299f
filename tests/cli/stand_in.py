"""A session that only pretends: it emits the events of a real one and asks the same questions.

Started as ``stand_in.py MODE SIDE WHAT``, in a terminal or without one, by the tests beside it.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from p2pxfer.cli.answers import Answers, ask_code
from p2pxfer.cli.keyboard import terminal
from p2pxfer.cli.options import OutputFlags
from p2pxfer.cli.render import Renderer
from p2pxfer.cli.run import run
from p2pxfer.cli.scene import Scene
from p2pxfer.errors import ConnectionFailed, Declined
from p2pxfer.manifest import TransferKind
from p2pxfer.pairing.code import complete, read
from p2pxfer.progress import (
    Advanced,
    CodeReady,
    Connected,
    EntryFailed,
    FilesFinished,
    FileStarted,
    Finished,
    FinishedFile,
    Note,
    Offered,
    Resumed,
    Stalled,
    TextReceived,
    Waiting,
)
from p2pxfer.session.interaction import OfferView

MB = 1_000_000
WITHOUT_CODE = {"yes", "exists", "verify", "text", "finding"}  # scenes of a code that is known
NAMES = (b"photos", b"evil\x1b]0;pwned\x07name", "данные.txt".encode())
BIG = "photos/a folder with quite a long name/Überflug-final.mov".encode()


class StandIn:
    """One pretended transfer."""

    def __init__(self, renderer: Renderer, what: str) -> None:
        self.renderer = renderer
        self.what = what
        self.go_on = asyncio.Event()
        self.keyboard = terminal(input_is_data=False)
        self.answers = Answers(renderer, self.keyboard, yes=what == "yes")

    async def play(self, *, sending: bool) -> None:
        """One side of it."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.go_on.set)
        await (self.send() if sending else self.receive())

    async def send(self) -> None:
        """What the sender's side sees."""
        emit = self.renderer.emit
        emit(CodeReady("7-orbit-lamp", "https://meet.example.org/#7-orbit-lamp", 3600))
        emit(Waiting("peer"))
        await self.hold("wait")
        emit(Connected("direct", "192.0.2.5:51820", "192.0.2.9:40022", 0.62))
        emit(Waiting("accept"))
        await self.hold("accept")
        if self.what == "fail":
            raise ConnectionFailed("no path between the two sides was found in 60 s")
        if self.what == "boom":
            secrets = {"orbit-lamp": 1}
            secrets.pop("hunter2")
        await self.content()

    async def receive(self) -> None:
        """What the receiver's side sees."""
        assert self.keyboard is not None or self.what == "yes"
        if self.keyboard is not None and self.what not in WITHOUT_CODE:
            code = await ask_code(self.renderer, self.keyboard, complete=complete, check=read)
            self.renderer.emit(Note(f"the code is {code}"))
        if self.what == "finding":
            self.renderer.finding()
            await self.hold("finding")
        self.renderer.emit(Connected("relay", "[2001:db8::5]:1", "192.0.2.9:40022", None))
        if self.what == "verify":
            same = await self.answers.verify(("orbit", "lamp", "tiger", "velvet"))
            self.renderer.emit(Note(f"the words are {'the same' if same else 'not the same'}"))
            return
        if self.what == "finding":
            return
        if self.what == "text":
            await self.answers.accept(OfferView(TransferKind.TEXT, (), False, 1, 30, True))
            self.renderer.emit(TextReceived("C:\\temp\tone\ntwo \x1b[31mred"))
            return
        if self.what == "exists":
            chosen = [await self.answers.existing(b"photos/%d.jpg" % n) for n in range(3)]
            self.renderer.emit(Note(" ".join(chosen)))
            return
        self.renderer.emit(Offered(800, 80 * MB, complete=False))
        offer = OfferView(TransferKind.FILES, NAMES, True, 100, 10 * MB, False)
        growing = asyncio.create_task(self.grow())
        accepted = await self.answers.accept(offer)
        growing.cancel()
        if not accepted:
            raise Declined("the offer was declined")
        await self.content()

    async def grow(self) -> None:
        """More of the tree becomes known while the question stands."""
        await asyncio.sleep(0.3)
        self.renderer.emit(Offered(1304, 500 * MB, complete=True))

    async def content(self) -> None:
        """What both see while bytes cross."""
        emit = self.renderer.emit
        emit(Offered(1300, 420 * MB, complete=False))
        for number in range(8):
            path = b"photos/%d.jpg" % number
            emit(FileStarted(path, 4096))
            emit(Advanced(4096))
            emit(FilesFinished([FinishedFile(path, 4096, bytes(32))]))
        await self.hold("counting")
        emit(EntryFailed(b"photos/pipe\x07", "a FIFO is not sent"))
        emit(Offered(1304, 500 * MB, complete=True))
        emit(FileStarted(BIG, 400 * MB))
        for _ in range(8):
            emit(Advanced(25 * MB))
            await asyncio.sleep(0.06)
        if self.what == "stall":
            emit(Stalled(3.0, "the other side's disk is busy"))
            await self.hold("stall")
            emit(Resumed())
        await self.hold("half")
        emit(Advanced(200 * MB))
        emit(FilesFinished([FinishedFile(BIG, 400 * MB, bytes(32))]))
        emit(Advanced(500 * MB - 400 * MB - 8 * 4096))
        await self.hold("finishing")
        emit(Finished(500 * MB, 9, 0, 3.9, bytes(32)))

    async def hold(self, what: str) -> None:
        """Hold the scene that a test wants to look at, until it sends SIGUSR1."""
        if self.what == what:
            await self.go_on.wait()


def main() -> None:
    """Play one scene."""
    mode, side, what = sys.argv[1:]
    flags = OutputFlags(quiet=mode == "quiet", verbose=mode == "verbose", json=mode == "json")
    scene = Scene(
        sending=side == "send",
        verbose=flags.verbose,
        destination="" if side == "send" else "downloads",
        join="p2pxfer receive -r https://meet.example.org",
        qr=mode == "qr",
    )
    renderer = flags.renderer(scene)
    stand_in = StandIn(renderer, what)
    sys.exit(run(renderer, lambda: stand_in.play(sending=scene.sending)))


if __name__ == "__main__":
    main()
