"""Takes a picture of every page of a running hub, in both languages and both sizes.

    python -m deploy.screenshots --url http://127.0.0.1:8080 --accounts-file accounts.json --out docs/pictures

The accounts file is JSON: `{"investigator": "password", …}` (user name to password) or a list of
`{"username": …, "password": …}`. Pages are taken with the first role that may open them. Pictures are palette PNGs,
small enough for a README. Needs Playwright and a Chromium (`--chromium`), Chinese text needs a CJK font.
"""

import argparse
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
from playwright.sync_api import TimeoutError as NotInTimeError

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
    "--allow-loopback-in-peer-connection",
]
Account = tuple[str, str]
"""User name and password."""

SIZES = {"wide": (1440, 900), "phone": (390, 844)}
LOCALES = ("zh-CN", "en")
SETTLE_MS = 1500  # pictures and map tiles fade in; nothing waits on this but looks
WAIT_MS = 15_000


@dataclass(frozen=True)
class Shot:
    """One page: its name, the roles that may open it (first at hand), its path, and what must be there first."""

    name: str
    accounts: tuple[str, ...]
    path: str
    ready: str
    click: tuple[str, ...] = ()
    then: str = ""
    purpose: bool = False


STAFF = ("investigator", "supervisor", "monitor", "admin")
LOOKERS = ("investigator", "supervisor")
SHOTS = (
    Shot("map", STAFF, "/map", "[data-testid=camera-item]"),
    Shot(
        "camera-card",
        STAFF,
        "/map",
        "[data-testid=camera-item]",
        ("[data-testid=camera-item]",),
        "[data-testid=camera-card]",
    ),
    Shot("search", LOOKERS, "/search", "[data-testid=hit]", purpose=True),
    Shot(
        "player",
        LOOKERS,
        "/search?class=person",
        "[data-testid=hit]",
        ("[data-testid=hit][data-clip=verified]",),
        "[data-testid=seal-status]",
        True,
    ),
    Shot(
        "wall",
        ("investigator", "supervisor", "monitor"),
        "/wall",
        "[data-testid=wall-tile]",
        (),
        "[data-state=live]",
        True,
    ),
    Shot("incidents", STAFF, "/incidents", "[data-testid=incident-list]"),
    Shot(
        "incident",
        LOOKERS,
        "/incidents",
        "[data-testid=incident-item]",
        ("[data-testid=incident-item]",),
        "[data-testid=link-item]",
        True,
    ),
    Shot("cameras", ("admin",), "/cameras", "table"),
    Shot("boxes", ("admin",), "/cameras?tab=agents", "[data-testid=agents]"),
    Shot("candidates", ("admin",), "/cameras?tab=candidates", "main"),
    Shot(
        "enrol",
        ("admin",),
        "/cameras",
        "[data-testid=code-new]",
        ("[data-testid=code-new]",),
        "[data-testid=code-label]",
    ),
    Shot("users", ("admin",), "/users", "[data-testid=users]"),
    Shot(
        "ledger",
        ("auditor", "supervisor"),
        "/ledger",
        "[data-testid=ledger]",
        ("[data-testid=ledger-verify]",),
        "[data-testid=ledger-verdict]",
    ),
    Shot("my-cameras", ("resident",), "/my-cameras", "[data-testid=resident-empty]"),
    Shot("about", STAFF, "/about", "main"),
)


def main() -> int:
    """Command line; 1 when a page could not be taken."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    ask.add_argument("--url", required=True)
    ask.add_argument("--accounts-file", required=True, type=Path)
    ask.add_argument("--out", required=True, type=Path)
    ask.add_argument("--chromium", default="/usr/bin/chromium")
    ask.add_argument("--only", nargs="*", default=[], help="names of pages")
    ask.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    ask.add_argument("--locales", nargs="*", default=list(LOCALES), choices=list(LOCALES))
    ask.add_argument("--theme", default="light", choices=("light", "dark"))
    args = ask.parse_args()
    accounts = by_role(args.url, read_accounts(json.loads(args.accounts_file.read_text("utf-8"))))
    wanted = [shot for shot in SHOTS if not args.only or shot.name in args.only]
    left_out = [shot.name for shot in wanted if account_for(shot, accounts) is None]
    args.out.mkdir(parents=True, exist_ok=True)
    missed: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium, args=FLAGS)
        for size in args.sizes:
            for locale in args.locales:
                missed += take_all(browser, args, accounts, size, locale)
        browser.close()
    print(json.dumps({"missed": missed, "no_account_for": left_out}))
    return 1 if missed else 0


def read_accounts(raw: object) -> dict[str, str]:
    """User names and passwords from either shape of the accounts file."""
    if isinstance(raw, dict) and isinstance(raw.get("accounts"), list | dict):
        raw = raw["accounts"]
    if isinstance(raw, dict):
        return {str(name): str(word["password"] if isinstance(word, dict) else word) for name, word in raw.items()}
    if isinstance(raw, list):
        return {str(one["username"]): str(one["password"]) for one in raw}
    raise SystemExit("the accounts file is neither an object nor a list")


def by_role(url: str, accounts: dict[str, str]) -> dict[str, Account]:
    """An account of each role, found by signing in with each."""
    found: dict[str, Account] = {}
    for username, password in accounts.items():
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
            answer = http.post("/api/v1/session", json={"username": username, "password": password})
            answer.raise_for_status()
            session = answer.json()
            found.setdefault(str(session["user"]["role"]), (username, password))
            http.delete("/api/v1/session", headers={"X-CSRF-Token": session["csrf_token"]})
    return found


def take_all(
    browser: Browser, args: argparse.Namespace, accounts: dict[str, Account], size: str, locale: str
) -> list[str]:
    """All pages in one size and language; the names of those that could not be taken."""
    missed = []
    wanted = [shot for shot in SHOTS if not args.only or shot.name in args.only]
    if not args.only or "login" in args.only:
        with opened(browser, size, locale, args.theme) as page:
            page.goto(args.url + "/login")
            page.wait_for_selector("[data-testid=login-submit]")
            save(page, args.out, "login", size, locale)
    for account in dict.fromkeys(name for shot in wanted if (name := account_for(shot, accounts))):
        with opened(browser, size, locale, args.theme) as page:
            sign_in(page, args.url, *accounts[account])
            for shot in wanted:
                if account_for(shot, accounts) != account:
                    continue
                try:
                    take(page, args.url, shot, locale)
                except NotInTimeError:
                    missed.append(f"{shot.name}-{size}-{locale}")
                save(page, args.out, shot.name, size, locale)
    return missed


def account_for(shot: Shot, accounts: dict[str, Account]) -> str | None:
    """The first role at hand that may open the page."""
    return next((name for name in shot.accounts if name in accounts), None)


@contextmanager
def opened(browser: Browser, size: str, locale: str, theme: str) -> Iterator[Page]:
    """A fresh browser profile in a size and language."""
    width, height = SIZES[size]
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": height},
        locale=locale,
        timezone_id="Asia/Shanghai",
        is_mobile=size == "phone",
        has_touch=size == "phone",
        color_scheme="dark" if theme == "dark" else "light",
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.add_init_script(
        f"localStorage.setItem('qianshao.locale', '{locale}'); localStorage.setItem('qianshao.theme', '{theme}')"
    )
    page = context.new_page()
    page.on("pageerror", lambda error: print(f"page error: {error}", file=sys.stderr))
    page.on("console", _report)
    yield page
    context.close()


def _report(said: ConsoleMessage) -> None:
    if said.type == "error":
        print(f"console: {said.text}", file=sys.stderr)


def sign_in(page: Page, url: str, username: str, password: str) -> None:
    """Signs in by the form, as a person does."""
    page.goto(url + "/login")
    page.locator("[data-testid=login-username]").fill(username)
    page.locator("[data-testid=login-password]").fill(password)
    page.locator("[data-testid=login-submit]").click()
    page.wait_for_selector("[data-testid=user-menu]", timeout=WAIT_MS)


def take(page: Page, url: str, shot: Shot, locale: str) -> None:
    """Brings a page into the state that the picture is to show."""
    page.goto(url + shot.path)
    page.wait_for_selector("[data-testid=user-menu]", timeout=WAIT_MS)
    speak(page, locale)
    if shot.purpose:
        set_purpose(page, url)
    page.wait_for_selector(shot.ready, timeout=WAIT_MS)
    for selector in shot.click:
        page.locator(selector).first.click()
    if shot.then:
        page.wait_for_selector(shot.then, timeout=WAIT_MS)
    page.wait_for_timeout(SETTLE_MS)


def speak(page: Page, locale: str) -> None:
    """The account's own language wins over the browser's: change it by the menu when it is the other one."""
    if page.evaluate("document.documentElement.lang") == locale:
        return
    page.locator("[data-testid=user-menu]").click()
    page.locator("[data-testid=menu-locale]").click()
    page.wait_for_selector(f"html[lang='{locale}']", timeout=WAIT_MS)
    page.keyboard.press("Escape")


def set_purpose(page: Page, url: str) -> None:
    """An open incident, which opens everything, unless a purpose is set already; one is recorded when there is none."""
    if page.locator("[data-testid=purpose-current]").count():
        return
    incident = open_incident(page, url)
    page.locator("[data-testid=purpose-set]").click()
    page.locator("[data-testid=purpose-kind-incident]").click()
    page.locator(f"input[name=incident][value='{incident}']").check(timeout=WAIT_MS)
    page.locator("[data-testid=purpose-submit]").click()
    page.wait_for_selector("[data-testid=purpose-current]", timeout=WAIT_MS)


def open_incident(page: Page, url: str) -> str:
    """The id of an open incident; a sample one at the first camera when there is none."""
    known = page.request.get(f"{url}/api/v1/incidents?status=open").json()["items"]
    if known:
        return str(known[0]["id"])
    placed = [one["position"] for one in page.request.get(f"{url}/api/v1/cameras").json() if one["position"]]
    now = datetime.now(UTC)
    made = page.request.post(
        f"{url}/api/v1/incidents",
        headers={"X-CSRF-Token": page.request.get(f"{url}/api/v1/session").json()["csrf_token"]},
        data={
            "category": "theft_home",
            "title": "晒场辣椒被盗（示例）",
            "position": placed[0] if placed else {"lon": 104.9, "lat": 25.09},
            "occurred_from": (now - timedelta(minutes=30)).isoformat(),
            "occurred_to": now.isoformat(),
        },
    )
    return str(made.json()["id"])


def save(page: Page, out: Path, name: str, size: str, locale: str) -> None:
    """A PNG with 256 colours chosen by k-means over the rare ones: small marks of state keep their colour."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    small = picture.quantize(colors=256, method=Image.Quantize.MAXCOVERAGE, kmeans=8, dither=Image.Dither.NONE)
    small.save(out / f"{name}-{size}-{locale}.png", optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())
