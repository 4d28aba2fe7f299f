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
