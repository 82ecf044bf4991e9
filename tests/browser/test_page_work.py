"""The page before a real hub: what an investigator, an administrator and an auditor do all day."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from hub.context import Context
from hub.identity.model import Role
from hub.ingest.verification import verify_clip
from models.vocabulary import ObjectClass
from tests.browser.page_house import CHROMIUM, House, film, house_on
from tests.servers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")]


@pytest_asyncio.fixture(loop_scope="session")
async def house(context: Context) -> AsyncIterator[House]:
    async with house_on(context) as ready:
        yield ready


async def test_a_wrong_password_is_refused_in_words_with_its_code(house: House) -> None:
    page = await house.browser.new_page()
    await page.goto(f"{house.url}/map")
    await page.get_by_test_id("login-username").fill("nobody")
    await page.get_by_test_id("login-password").fill("wrong")
    await page.get_by_test_id("login-submit").click()
    await expect(page.get_by_test_id("login-error")).to_contain_text("login.failed")
    await page.close()


async def test_search_asks_for_a_purpose_first(house: House) -> None:
    async with house.page(Role.INVESTIGATOR) as page:
        await page.goto(f"{house.url}/search")
        await page.get_by_test_id("purpose-gate").wait_for()
        assert await page.get_by_test_id("hit").count() == 0


async def test_search_finds_a_person_and_plays_the_sealed_clip(house: House) -> None:
    async with house.page(Role.INVESTIGATOR, purpose="incident") as page:
        await page.goto(f"{house.url}/search")
        await expect(page.get_by_test_id("hit")).to_have_count(3)
        await page.get_by_test_id("class-person").click()
        await expect(page.get_by_test_id("hit")).to_have_count(2)
        await expect(page).to_have_url(re.compile("class=person"))
        await page.get_by_test_id("hit").first.click()
        await expect(page.get_by_test_id("seal-status")).to_have_attribute("data-status", "verified")
        await wait_until(lambda: says(page, "v.getVideoPlaybackQuality().totalVideoFrames > 10"))

        async def boxed() -> bool:
            return await drawn_on_overlay(page) > 100

        await wait_until(boxed)
        await page.keyboard.press(" ")
        await wait_until(lambda: says(page, "v.paused"))


async def test_a_clip_on_its_way_is_waited_for_and_plays_by_itself(house: House) -> None:
    twin, camera = house.village.twin, house.village.cameras[1]
    start = house.context.clock() - timedelta(minutes=1)
    data = film()
    seen = twin.sighting(camera, ObjectClass.COW, start_at=start)
    clip = twin.clip(camera, data, start, [seen.sighting_id])
    body = clip.seal.body
    await twin.send(house.context, seen.model_copy(update={"clip_id": body.clip_id}))
    async with house.page(Role.INVESTIGATOR, purpose="incident") as page:
        await page.goto(f"{house.url}/search?class=cow")
        await page.get_by_test_id("hit").click()
        await page.get_by_test_id("player-waiting").wait_for()
        await twin.send(house.context, clip)
        await twin.upload(house.context, clip, data)
        await verify_clip(house.context, body.clip_id)
        await expect(page.get_by_test_id("seal-status")).to_have_attribute("data-status", "verified", timeout=10_000)
        await wait_until(lambda: says(page, "v.getVideoPlaybackQuality().totalVideoFrames > 10"))


async def says(page: Page, what: str) -> bool:
    """Asks the player's video `v`. (The page's own policy forbids the eval that `wait_for_function` needs.)"""
    return bool(await page.get_by_test_id("player-video").evaluate(f"v => {what}"))


async def drawn_on_overlay(page: Page) -> int:
    """How many pixels of the overlay's canvas are painted."""
    return int(
        await page.evaluate(
            """() => { const c = document.querySelector('.screen canvas');
            return c.getContext('2d').getImageData(0, 0, c.width, c.height).data
            .filter((v, i) => i % 4 === 3 && v > 0).length }"""
        )
    )


async def test_a_search_without_hits_says_so(house: House) -> None:
    async with house.page(Role.INVESTIGATOR, purpose="incident") as page:
        await page.goto(f"{house.url}/search?class=cow")
        await page.locator(".results").get_by_test_id("state-empty").wait_for()
        await expect(page.get_by_test_id("search-total")).to_have_text("0")


async def test_an_incident_proposes_footage_and_keeps_the_decision(house: House) -> None:
    async with house.page(Role.INVESTIGATOR) as page:
        await page.goto(f"{house.url}/incidents")
        await page.get_by_test_id("incident-new").click()
        await page.get_by_test_id("incident-title").fill("晒场辣椒被盗")
        box = page.get_by_test_id("incident-map").get_by_test_id("map")
        await box.locator(".qs-camera").first.wait_for()
        await box.click(position={"x": 200, "y": 120})
        await page.get_by_test_id("incident-create").click()
        await page.get_by_test_id("incident-as-purpose").click()
        first = page.get_by_test_id("link-item").first
        await first.get_by_test_id("link-confirm").click()
        await expect(first).to_have_attribute("data-decision", "confirmed")
        await page.reload()
        await expect(page.locator("[data-testid=link-item][data-decision=confirmed]")).to_have_count(1)
        # a link of a whole clip plays as well
        await page.get_by_test_id("link-item").filter(has_text="村口").first.locator("button[data-card]").click()
        await expect(page.get_by_test_id("seal-status")).to_have_attribute("data-status", "verified")
        await wait_until(lambda: says(page, "v.getVideoPlaybackQuality().totalVideoFrames > 10"))


async def test_an_administrator_makes_a_code_and_adopts_a_candidate(house: House) -> None:
    async with house.page(Role.ADMIN) as page:
        await page.goto(f"{house.url}/cameras?tab=candidates")
        await page.get_by_test_id("code-new").click()
        await page.get_by_test_id("code-label").fill("纳姑村 3 组")
        await page.get_by_test_id("code-create").click()
        await expect(page.get_by_test_id("code-text")).to_have_text(re.compile(r"\w{4}"))
        await page.keyboard.press("Escape")
        await page.get_by_test_id("adopt").click()
        await page.get_by_test_id("adopt-name").fill("学校门口")
        place = page.get_by_test_id("place-map").get_by_test_id("map")
        await place.locator(".qs-camera").first.wait_for()
        await place.click(position={"x": 240, "y": 140})
        await page.get_by_test_id("adopt-submit").click()
        await page.get_by_test_id("adopt-submit").wait_for(state="hidden")
        await page.goto(f"{house.url}/map")
        await expect(page.get_by_test_id("camera-item")).to_have_count(3)


async def test_an_auditor_reads_who_looked_and_verifies_the_chain(house: House) -> None:
    async with house.page(Role.INVESTIGATOR, purpose="incident") as page:
        await page.goto(f"{house.url}/search")
        await page.get_by_test_id("hit").first.wait_for()
    async with house.page(Role.AUDITOR) as page:
        await expect(page.get_by_test_id("ledger")).to_contain_text("检索了影像")
        await expect(page.get_by_test_id("ledger")).to_contain_text("村口")  # by name, without a right to the map
        await page.get_by_test_id("ledger-verify").click()
        await expect(page.get_by_test_id("ledger-verdict")).to_have_attribute("data-ok", "true")
        assert await page.get_by_test_id("nav-search").count() == 0


async def test_a_resident_sees_an_honest_empty_page_in_the_language_chosen(house: House) -> None:
    async with house.page(Role.RESIDENT) as page:
        await page.get_by_test_id("resident-empty").wait_for()
        await page.get_by_test_id("user-menu").click()
        await page.get_by_test_id("menu-locale").click()
        await expect(page.get_by_test_id("resident-empty")).to_contain_text("No camera is bound")
        await page.reload()
        await expect(page.get_by_test_id("resident-empty")).to_contain_text("No camera is bound")
