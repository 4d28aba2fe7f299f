"""Pictures and sound between p2pxfer and Chromium, both ways, beside the channel."""

from __future__ import annotations

import asyncio

import pytest

from tests.interop.harness import carry, running
from tests.media import seen

CODECS = pytest.mark.parametrize("codec", ["VP8", "H264"])
NEAR = 16  # of 255: two conversions between colour spaces, and a codec


def meet(offerer, answerer, codec):
    """The offerer sends, the answerer takes."""
    offerer.other, answerer.other = answerer, offerer
    answerer.do("start", offerer=False, media={"receives": True})
    offerer.do("start", offerer=True, media={"sends": True, "codec": codec})
    return asyncio.gather(offerer.event("open"), answerer.event("open"))


async def muted(sender, receiver, how):
    """What is muted is black, and comes back."""
    sender.do("mute", how=how)
    receiver.do("look", dark=True)
    await receiver.event("dark")
    sender.do("mute", how="live")
    receiver.do("look", dark=False)
    await receiver.event("picture")


@CODECS
async def test_a_browser_sees_and_hears_what_we_share(codec):
    """Its pixels have the pattern's colours, its ears the tone, and bytes cross meanwhile."""
    async with running("p2pxfer", "chromium") as (ours, theirs):
        await meet(ours, theirs, codec)
        picture = await theirs.event("picture")
        assert (picture["width"], picture["height"]) == (640, 480)
        for bar, colour in zip(seen.BARS, picture["colours"], strict=True):
            assert all(abs(a - b) <= NEAR for a, b in zip(bar, colour, strict=True)), picture
        tone = await theirs.event("tone")
        assert abs(tone["hertz"] - 440) < 12
        await carry(ours, theirs, count=32, size=65_536)
        await carry(theirs, ours, count=32, size=65_536)
        await muted(ours, theirs, "disabled")
        theirs.do("hangup")
        await ours.event("closed")


@CODECS
async def test_we_see_and_hear_a_browser(codec):
    """Its fake camera is mostly green, its fake microphone beeps."""
    async with running("p2pxfer", "chromium") as (ours, theirs):
        await meet(theirs, ours, codec)
        picture = await ours.event("picture")
        assert picture["whole"]
        assert (picture["width"], picture["height"]) == (640, 480)
        greens = [g > r + 40 and g > b + 40 for r, g, b in picture["colours"]]
        assert sum(greens) > len(greens) / 2, picture
        tone = await ours.event("tone")
        assert abs(tone["hertz"] - 400) <= 20
        await carry(theirs, ours, count=32, size=65_536)
        await muted(theirs, ours, "disabled")
        theirs.do("mute", how="nothing")
        await asyncio.sleep(0.3)
        theirs.do("mute", how="live")
        ours.do("look", dark=False)
        await ours.event("picture")
        ours.do("hangup")
        await theirs.event("closed")


async def changed(theirs, ours, mids):
    """The browser has made another offer; ours tells what is received now."""
    theirs.do("offer")
    told = await ours.event("tracks")
    assert told["mids"] == mids


async def seen_again(receiver, width, **which):
    receiver.do("look", dark=False, **which)
    return await receiver.event("picture", width=width)


async def test_a_browser_adds_removes_and_stops_what_it_sends():
    """While it is watched: each is told from the others, whole, and comes back when it does."""
    async with running("p2pxfer", "chromium") as (ours, theirs):
        await meet(theirs, ours, "VP8")
        await ours.event("picture")
        theirs.do("more")
        await changed(theirs, ours, ["0", "1", "3"])
        picture = await seen_again(ours, 320, mid="3")
        assert all(r > g + 100 and r > b + 100 for r, g, b in picture["colours"]), picture
        theirs.do("turn", at=2, direction="inactive")
        await changed(theirs, ours, ["0", "1"])
        await seen_again(ours, 640, mid="1")
        theirs.do("turn", at=2, direction="sendonly")
        await changed(theirs, ours, ["0", "1", "3"])
        await seen_again(ours, 320, mid="3")
        theirs.do("stop", at=2)
        await changed(theirs, ours, ["0", "1"])
        theirs.do("more")
        await changed(theirs, ours, ["0", "1", "4"])
        await seen_again(ours, 320, mid="4")
        await changed(theirs, ours, ["0", "1", "4"])
        await seen_again(ours, 640, mid="1")
        await carry(theirs, ours, count=32, size=65_536)
        ours.do("hangup")
        await theirs.event("closed")


async def test_a_browser_asks_for_more_of_what_we_share():
    """A second camera, which it then pauses; and it offers nothing that we would take."""
    async with running("p2pxfer", "chromium") as (ours, theirs):
        theirs.other, ours.other = ours, theirs
        ours.do("start", offerer=False, media={"sends": True, "second": True})
        theirs.do("start", offerer=True, media={"wants": True})
        await theirs.event("picture", width=640)
        theirs.do("want")
        await changed(theirs, ours, [])
        picture = await theirs.event("picture", width=320)
        for bar, colour in zip(seen.BARS, picture["colours"], strict=True):
            assert all(abs(a - b) <= NEAR for a, b in zip(bar, colour, strict=True)), picture
        theirs.do("turn", at=1, direction="inactive")
        await changed(theirs, ours, [])
        theirs.do("more")
        theirs.do("turn", at=1, direction="recvonly")
        await changed(theirs, ours, [])
        await seen_again(theirs, 320)
        await carry(ours, theirs, count=32, size=65_536)
        theirs.do("hangup")
        await ours.event("closed")


async def test_a_browser_that_answered_offers_in_its_turn():
    """Whoever made the first offer: what it has of ours it lets go, and takes up again."""
    async with running("p2pxfer", "chromium") as (ours, theirs):
        await meet(ours, theirs, "VP8")
        await theirs.event("picture")
        theirs.do("turn", at=0, direction="inactive")
        await changed(theirs, ours, [])
        theirs.do("turn", at=0, direction="recvonly")
        await changed(theirs, ours, [])
        await seen_again(theirs, 640)
        theirs.do("hangup")
        await ours.event("closed")
