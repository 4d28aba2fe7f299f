"""Chromium without a window, driven through Playwright; the page does the work."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

from playwright.async_api import async_playwright

from tests.interop.driver import tell

PAGE = (Path(__file__).parent / "peer.html").as_uri()
QUIET = (
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-loopback-in-peer-connection",
)
OPEN = (
    "--disable-features=WebRtcHideLocalIpsWithMdns",  # most tests have no multicast
    "--use-fake-device-for-media-stream",  # a camera and a microphone
    "--use-fake-ui-for-media-stream",  # and nobody to ask: who may film may know addresses, too
    "--autoplay-policy=no-user-gesture-required",
)
HIDDEN = "HIDE_ADDRESSES"  # in the environment: names in their place, as browsers usually have


async def main() -> None:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert program, "no chromium on PATH"
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with async_playwright() as playwright:
        words = [*QUIET] if os.environ.get(HIDDEN) else [*QUIET, *OPEN]
        browser = await playwright.chromium.launch(executable_path=program, args=words)
        page = await browser.new_page()
        page.on("pageerror", lambda error: tell({"event": "error", "error": str(error)}))
        await page.expose_function("tell", tell)
        await page.goto(PAGE)
        tell({"event": "version", "version": browser.version})
        while line := await reader.readline():
            command = json.loads(line)
            if command.get("do") == "quit":
                break
            await page.evaluate("command => { hear(command); }", command)
        await browser.close()


asyncio.run(main())
