"""p2pxfer's connection and other WebRTC stacks: bytes both ways, ends, and what is refused."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.interop.harness import Program, carry, join, running, start

STACKS = ("aiortc", "chromium", "libdatachannel", "werift")
TALKING = ("aiortc", "chromium", "libdatachannel")  # these say that they hang up; werift is silent
LAYERS = ("single", "stock")  # what is there when a library has changed inside
BULK = {"count": 320, "size": 65_536}  # 20 MB
SMALL = {"count": 10_000, "size": 500, "vary": True}

ROLES = pytest.mark.parametrize("offering", [True, False], ids=["we-offer", "they-offer"])
EVERYONE = pytest.mark.parametrize("stack", STACKS)


@asynccontextmanager
async def met(
    stack: str, *, offering: bool, layer: str = "batched"
) -> AsyncIterator[tuple[Program, Program]]:
    """Our program and another's, their channel open; they close in good order."""
    environment = {**os.environ, "P2PXFER_DATA_PATH": layer}
    async with running("p2pxfer", stack, environment=environment) as (ours, theirs):
        ends = (ours, theirs) if offering else (theirs, ours)
        opened = await join(*ends)
        here, there = opened if offering else reversed(opened)
        assert (here["layer"], here["ours"]) == (layer, False)
        assert (there["label"], there["protocol"], there["ordered"]) == ("p2pxfer", "", True)
        yield ours, theirs


@EVERYONE
@ROLES
async def test_bytes_cross_both_ways(stack, offering):
    """20 MB and 10,000 small messages each way arrive as they were sent; then one side closes."""
    async with met(stack, offering=offering) as (ours, theirs):
        for what in (BULK, SMALL):
            await carry(ours, theirs, **what)
            await carry(theirs, ours, **what)
        (ours if offering else theirs).do("close")
        await theirs.event("closed")
        assert (await ours.event("closed"))["error"] == "PeerGone"


@pytest.mark.parametrize("layer", LAYERS)
@EVERYONE
async def test_what_is_left_when_a_library_changes_inside_carries_bytes_too(stack, layer):
    """The fallbacks do the same, only slower."""
    async with met(stack, offering=stack != "chromium", layer=layer) as (ours, theirs):
        for what in ({"count": 64, "size": 65_536}, {"count": 1000, "size": 500, "vary": True}):
            await carry(ours, theirs, **what)
            await carry(theirs, ours, **what)


@EVERYONE
async def test_both_send_at_once(stack):
    """Neither direction waits for the other, or disturbs it."""
    async with met(stack, offering=True) as (ours, theirs):
        await asyncio.gather(carry(ours, theirs, **BULK), carry(theirs, ours, **BULK))


@EVERYONE
async def test_long_messages(stack):
    """They send as much in one message as we say we take; we as much as they say, or is of use."""
    async with met(stack, offering=False) as (ours, theirs):
        await carry(theirs, ours, count=4, size=256 * 1024)
        await carry(ours, theirs, count=16, size=64 * 1024)


@pytest.mark.parametrize("stack", TALKING)
async def test_they_hang_up(stack):
    """A connection that is closed over there closes here, and at once."""
    async with met(stack, offering=True) as (ours, theirs):
        theirs.do("hangup")
        assert (await ours.event("closed", patience=20))["error"] == "PeerGone"
        await ours.event("state", state="closed")


@pytest.mark.parametrize("stack", STACKS)
async def test_we_hang_up(stack):
    """A connection that is closed here closes their channel."""
    async with met(stack, offering=False) as (ours, theirs):
        await carry(ours, theirs, count=100, size=1000)
        ours.do("hangup")
        await theirs.event("closed", patience=20)


async def test_they_vanish():
    """Killed without a word: checks of the path find out, whether or not something is under way."""

    async def lose(*, sending: bool) -> None:
        async with met("libdatachannel", offering=True) as (ours, theirs):
            if sending:
                ours.do("send", count=100_000, size=65_536)
                await asyncio.sleep(0.2)
            theirs.process.kill()
            assert (await ours.event("closed"))["error"] == "PeerGone"
            await ours.event("state", state="closed")
            if sending:
                assert (await ours.event("unsent"))["error"] == "PeerGone"

    await asyncio.gather(lose(sending=False), lose(sending=True))


@EVERYONE
async def test_text_is_refused(stack):
    """Only bytes are spoken here: text ends the connection, in order behind what came before."""
    async with met(stack, offering=True) as (ours, theirs):
        await carry(theirs, ours, count=3, size=1000)
        theirs.do("text", text="héllo")
        closed = await ours.event("closed")
        assert closed["error"] == "PeerMisbehaved"
        assert "text" in closed["why"]
        await theirs.event("closed")


@pytest.mark.parametrize(
    "channel",
    [
        {"ordered": False},
        {"maxRetransmits": 3},
        {"maxPacketLifeTime": 500},
        {"label": "something else"},
    ],
    ids=["unordered", "few-tries", "short-lived", "other-label"],
)
async def test_a_channel_of_another_shape_is_refused(channel):
    """Ordered, reliable and ours by name, or none."""
    async with running("p2pxfer", "chromium") as (ours, theirs):
        start(theirs, ours, channel)
        assert (await ours.event("failed"))["error"] == "PeerMisbehaved"


@pytest.mark.parametrize("stack", TALKING)
async def test_a_second_channel_is_refused(stack):
    """One channel is all there is to say anything on."""
    async with met(stack, offering=False) as (ours, theirs):
        theirs.do("another", label="p2pxfer")
        assert (await ours.event("closed"))["error"] == "PeerMisbehaved"
