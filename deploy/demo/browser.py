"""What a person would see: search, the clip and the wall in headless Chromium."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from deploy.demo.processes import DemoError

FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
)
LIVE_FRAMES = 50


def look(url: str, username: str, password: str, incident: str, failure: Path) -> dict[str, Any]:
    """Signs in as `username`, works on the `incident` (its title), searches a person, plays a verified clip, opens the wall.

    Raises:
        DemoError: something did not show; the page at that moment is in `failure` (PNG).
    """
    from playwright.sync_api import Error, sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise DemoError("chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium, args=list(FLAGS), chromium_sandbox=False, headless=True,
            viewport={"width": 1440, "height": 900}, locale="zh-CN",
        )  # fmt: skip
        page = context.pages[0]
        try:
            _sign_in(page, url, username, password)
            _work_on(page, incident)
            return {**_clip(page, url), **_wall(page, url)}
        except Error as error:
            page.screenshot(path=failure)
            raise DemoError(f"the page does not show it ({failure}): {error.message[:600]}") from error
        finally:
            context.close()


def _sign_in(page: Any, url: str, username: str, password: str) -> None:
    page.goto(f"{url}/login")
    page.get_by_test_id("login-username").locator("input").or_(
        page.locator("input[data-testid=login-username]")
    ).first.fill(username)
    page.get_by_test_id("login-password").locator("input").or_(
        page.locator("input[data-testid=login-password]")
    ).first.fill(password)
    page.get_by_test_id("login-submit").click()
    page.get_by_test_id("purpose-bar").wait_for(timeout=15_000)


def _work_on(page: Any, incident: str) -> None:
    """Chooses the incident as purpose: stored footage is opened by nothing less."""
    page.get_by_test_id("purpose-set").first.click()
    page.get_by_test_id("purpose-kind-incident").click()
    page.get_by_test_id("purpose-incident").filter(has_text=incident).first.click()
    page.get_by_test_id("purpose-submit").click()
    page.get_by_test_id("purpose-current").filter(has_text=incident).wait_for(timeout=10_000)


def _clip(page: Any, url: str) -> dict[str, Any]:
    """A person found by search, and its clip played: of the newest hits, the first whose clip has been verified."""
    from playwright.sync_api import TimeoutError as NotInTime

    page.goto(f"{url}/search?class=person")
    hits = page.get_by_test_id("hit")
    hits.first.wait_for(timeout=20_000)
    moving = "() => { const v = document.querySelector('[data-testid=player-video]'); return v && v.currentTime > 0.6 }"
    for number in range(min(hits.count(), 20)):
        hits.nth(number).click()
        try:
            page.wait_for_function(moving, timeout=4_000)
        except NotInTime:
            continue  # this one's clip is still on its way
        break
    video = page.get_by_test_id("player-video")
    return {
        "clip_played_s": round(float(video.evaluate("v => v.currentTime")), 2),
        "seal_shown": page.get_by_test_id("seal-status").get_attribute("data-status"),
    }


def _wall(page: Any, url: str) -> dict[str, Any]:
    """Live tiles until enough frames are decoded; time of the first from the click on."""
    page.goto(f"{url}/wall")
    page.get_by_test_id("wall-tile").first.wait_for(timeout=15_000)
    fill = page.get_by_test_id("wall-fill").first
    if fill.is_enabled():  # the wall fills itself the first time; later one asks for it
        fill.click()
    frames = "() => window.__qianshao ? Math.max(0, ...window.__qianshao.tiles().map(t => t.framesDecoded)) : 0"
    page.wait_for_function(f"() => ({frames})() > {LIVE_FRAMES}", timeout=60_000)
    tiles = page.evaluate("() => window.__qianshao.tiles()")
    firsts = [t["firstFrameMs"] for t in tiles if t.get("firstFrameMs") is not None]
    return {
        "live_first_frame_ms": round(min(firsts)) if firsts else None,
        "live_frames_decoded": int(max(t["framesDecoded"] for t in tiles)),
        "live_tiles": len(tiles),
    }
