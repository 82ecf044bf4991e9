"""A served hub with a village in it and a browser before it, for tests of the page."""

import asyncio
import io
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Literal

import av
import numpy as np
import uvicorn
from PIL import Image, ImageDraw
from playwright.async_api import Browser, Page, async_playwright

from hub.app import create_app
from hub.context import Context
from hub.identity.model import Role
from hub.web.page import STATIC
from models.vocabulary import ObjectClass
from models.wire.base import Box
from models.wire.uplink import TrajectoryPoint
from tests.seeding import HOME, PASSWORD, Village, seed_camera, seed_user, seed_village
from tests.servers import wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
SIZE = (320, 180)
FPS = 12
CLIP_S = 12


def picture(x: float) -> Image.Image:
    """A yard with a figure at `x` (fraction of the width)."""
    image = Image.new("RGB", SIZE, (96, 108, 96))
    pen = ImageDraw.Draw(image)
    left = int(x * SIZE[0])
    pen.rectangle((left, 60, left + 40, 150), fill=(170, 40, 40))
    return image


def jpeg(x: float = 0.4) -> bytes:
    """`picture` as JPEG."""
    out = io.BytesIO()
    picture(x).save(out, "JPEG")
    return out.getvalue()


def film() -> bytes:
    """Twelve seconds of H.264 in a fragmented MP4: the figure walks from left to right."""
    out = io.BytesIO()
    with av.open(
        out, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    ) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": str(FPS)})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for number in range(FPS * CLIP_S):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture(0.1 + 0.6 * number / (FPS * CLIP_S))), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


@dataclass(frozen=True)
class House:
    """A served hub: where, and what is in it."""

    url: str
    context: Context
    village: Village
    browser: Browser

    @asynccontextmanager
    async def page(self, role: Role, *, purpose: Literal["incident", "duty", ""] = "") -> AsyncIterator[Page]:
        """A page on which somebody of this role has signed in by the form, and set a purpose by the dialog if one is named."""
        await seed_user(self.context, role)
        browser = await self.browser.new_context(viewport={"width": 1440, "height": 900}, locale="zh-CN")
        page = await browser.new_page()
        broken: list[str] = []
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("console", lambda said: broken.append(said.text) if "Content Security" in said.text else None)
        await page.goto(f"{self.url}/login")
        await page.get_by_test_id("login-username").fill(role.value)
        await page.get_by_test_id("login-password").fill(PASSWORD)
        await page.get_by_test_id("login-submit").click()
        await page.get_by_test_id("user-menu").wait_for()
        if purpose == "incident":
            incident = await record_incident(page, self.url)
            await page.get_by_test_id("purpose-set").click()
            await page.get_by_test_id("purpose-kind-incident").click()
            await page.locator(f"input[name=incident][value='{incident}']").check()
        elif purpose == "duty":
            await page.get_by_test_id("purpose-set").click()
            await page.get_by_test_id("purpose-kind-duty").click()
            await page.get_by_test_id("purpose-note").fill("night watch")
        if purpose:
            await page.get_by_test_id("purpose-submit").click()
            await page.get_by_test_id("purpose-current").wait_for()
        yield page
        await browser.close()
        assert broken == [], "the page raised errors or broke its own content security policy"


async def record_incident(page: Page, url: str) -> str:
    """A theft at the first camera in the last half hour; its id."""
    session = await (await page.request.get(f"{url}/api/v1/session")).json()
    now = datetime.now(UTC)
    made = await page.request.post(
        f"{url}/api/v1/incidents",
        headers={"X-CSRF-Token": session["csrf_token"]},
        data={
            "category": "theft_home",
            "title": "晒场辣椒被盗",
            "position": HOME.model_dump(),
            "occurred_from": (now - timedelta(minutes=30)).isoformat(),
            "occurred_to": now.isoformat(),
        },
    )
    assert made.status == 201, await made.text()
    return str((await made.json())["id"])


async def walk(context: Context, village: Village) -> None:
    """A person and a car at the first camera a few minutes ago, with a verified clip; a person without one at the second."""
    start = context.clock() - timedelta(minutes=6)
    path = [
        TrajectoryPoint(t_ms=1000 * n, box=Box(x=0.1 + 0.05 * n, y=0.33, w=0.125, h=0.5)) for n in range(CLIP_S - 3)
    ]
    first, second = village.cameras[:2]
    person = await village.twin.see(
        context, first, start_at=start, trajectory=path, best_box=path[4].box, picture=jpeg(0.3)
    )
    car = await village.twin.see(
        context, first, ObjectClass.CAR, start_at=start + timedelta(seconds=2), picture=jpeg(0.5)
    )
    await village.twin.deliver(context, first, film(), start_at=start - timedelta(seconds=2), sightings=[person, car])
    await village.twin.see(context, second, start_at=start - timedelta(minutes=20), picture=jpeg(0.6))


@asynccontextmanager
async def house_on(context: Context) -> AsyncIterator[House]:
    """The hub served on a free port, a village seeded, a browser started."""
    assert (STATIC / "index.html").is_file(), "build the page first: make setup, or npm run build in hub/web/ui"
    village = await seed_village(context, cameras=2)
    await seed_camera(context, village.twin, consent=None)
    await walk(context, village)
    server = uvicorn.Server(uvicorn.Config(create_app(context), port=0, log_level="warning", lifespan="on"))
    serving = asyncio.create_task(server.serve())

    async def up() -> bool:
        return server.started

    await wait_until(up)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield House(f"http://127.0.0.1:{port}", context, village, browser)
        await browser.close()
    server.should_exit = True
    await serving
