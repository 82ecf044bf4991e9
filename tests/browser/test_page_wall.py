"""The wall before a real relay: green only while frames are decoded, else amber with the seconds or a slate with the reason."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright, expect

from hub.context import Context
from tests.browser.page_house import CHROMIUM, FLAGS
from tests.integration.live_house import ALL_DAY, PASSWORD, LiveHouse, live_house
from tests.media.clips import encoded_clip
from tests.media.source import ClipSource
from tests.servers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")]


@pytest.fixture
def source() -> Iterator[ClipSource]:
    params, clip = encoded_clip(width=640, height=360, kbps=600, frames=100, gop=50, noise=8)
    with ClipSource(params, clip) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def house(context: Context, source: ClipSource) -> AsyncIterator[LiveHouse]:
    async with live_house(context, source) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def wall(house: LiveHouse) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        flags = [*FLAGS, "--allow-loopback-in-peer-connection"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = await browser.new_page(viewport={"width": 1440, "height": 900}, locale="en")
        await page.goto(f"{house.context.public_url}/wall")
        await page.get_by_test_id("login-username").fill("jiankong")
        await page.get_by_test_id("login-password").fill(PASSWORD)
        await page.get_by_test_id("login-submit").click()
        await page.get_by_test_id("purpose-set").click()
        await page.get_by_test_id("purpose-kind-duty").click()
        await page.get_by_test_id("purpose-note").fill("browser test")
        await page.get_by_test_id("purpose-submit").click()
        await page.get_by_test_id("wall-tile").wait_for()
        yield page
        await browser.close()


async def tiles(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await page.evaluate("window.__qianshao.tiles()")
    return found


async def test_a_tile_goes_green_with_decoded_frames_and_says_so_when_the_agent_falls_silent(
    house: LiveHouse, wall: Page
) -> None:
    async def growing() -> bool:
        return any(tile["state"] == "live" and tile["framesDecoded"] > 50 for tile in await tiles(wall))

    await wait_until(growing, within_s=40)
    await house.publisher.close()

    async def told() -> bool:
        return all(tile["state"] in ("late", "dead") for tile in await tiles(wall))

    await wait_until(told)


async def test_the_big_picture_takes_the_main_stream_and_lets_the_tiles_go(house: LiveHouse, wall: Page) -> None:
    await wall.locator("[data-testid=wall-tile][data-state=live]").wait_for()
    await wall.keyboard.press("1")
    await wall.locator("[data-testid=wall-full] [data-state=live]").wait_for()
    assert sorted(tile["state"] for tile in await tiles(wall)) == ["idle", "live"]
    await wall.keyboard.press("Escape")
    await wall.get_by_test_id("wall-full").wait_for(state="detached")


async def test_a_paused_camera_is_a_slate_with_the_owners_reason(house: LiveHouse, wall: Page) -> None:
    await wall.locator("[data-testid=wall-tile][data-state=live]").wait_for()
    await house.set_consent(ALL_DAY.model_copy(update={"version": 2, "paused": True}))
    await wall.locator("[data-testid=wall-tile][data-state=dead]").wait_for(timeout=40_000)
    await expect(wall.get_by_test_id("wall-tile")).to_contain_text("consent.paused", timeout=20_000)
