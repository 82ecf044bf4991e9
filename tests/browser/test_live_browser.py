"""Debian's Chromium decodes what the relay passes on: over WHEP, from a page of the app's own origin."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from hub.context import Context
from tests.integration.live_house import PASSWORD, LiveHouse, live_house
from tests.media.clips import encoded_clip
from tests.media.peers import eventually
from tests.media.source import ClipSource

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]
WATCH = (Path(__file__).parent / "watch.js").read_text().split("\n", 1)[1]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium on this machine"),
]


@pytest.fixture
def source() -> Iterator[ClipSource]:
    params, clip = encoded_clip(width=1280, height=720, kbps=2000, frames=100, gop=100, noise=24)
    with ClipSource(params, clip) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def house(context: Context, source: ClipSource) -> AsyncIterator[LiveHouse]:
    async with live_house(context, source) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=FLAGS)
        yield launched
        await launched.close()


async def watch(browser: Browser, house: LiveHouse, seconds: int) -> dict[str, Any]:
    page = await browser.new_page()
    try:
        await page.goto(house.url("/api/v1/openapi.json"))
        asked = {"camera": str(house.camera_id), "password": PASSWORD, "seconds": seconds}
        seen: dict[str, Any] = await page.evaluate(WATCH, asked)
        return seen
    finally:
        await page.close()


async def test_chromium_decodes_growing_frames_and_a_latecomer_sees_the_picture_at_once(
    browser: Browser, house: LiveHouse, source: ClipSource
) -> None:
    early = asyncio.create_task(watch(browser, house, 14))
    await eventually(lambda: any(leg.flowing for u in house.live._upstreams.values() for leg in u.fanout.legs), "flow")
    # A GOP is 4 s: without a cache somebody who comes here would wait for seconds.
    await eventually(lambda: 30 < len(source.sent) % 100 < 40, "the middle of a GOP", within_s=8)
    late = await watch(browser, house, 4)
    first = await early
    print(json.dumps({"first": first, "late": late}))
    for seen in (first, late):
        decoded = [sample["decoded"] for sample in seen["samples"]]
        assert decoded == sorted(decoded)
        assert decoded[-1] > decoded[0] + 40
        assert (seen["width"], seen["height"]) == (1280, 720)
    assert late["first_frame_ms"] < 1500
    # The cached frames did not become a lag: what is shown is not older than a blink and the browser's own buffer.
    assert late["samples"][-1]["delay_ms"] < 400
