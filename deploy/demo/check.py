"""Looks at the running demo from outside: the public API and a real browser, nothing else."""

import statistics
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deploy.demo.browser import look
from deploy.demo.client import HubClient
from deploy.demo.processes import DemoError

POLL_S = 0.5
SEARCHES = 60
VERIFY_WITHIN_S = 150.0
INCIDENT = "演示：停车坝电动车被盗"


def check(
    url: str, accounts: dict[str, str], cameras: list[dict[str, Any]], work_s: float, failure: Path
) -> dict[str, Any]:
    """Lets the village work, then measures; the result as one flat object."""
    began_at = datetime.now(UTC)
    with HubClient(url) as hub:
        hub.sign_in("wang", accounts["wang"])
        hub.purpose("demo check")
        print(f"  working for {work_s:.0f} s …", flush=True)
        delays = _watch_sightings(hub, began_at, work_s)
        clips = _verified_clips(hub)
        classes = _classes(hub, began_at)
        search_ms = _search_times(hub, began_at, [c["id"] for c in cameras])
        links = _proposed_links(hub, cameras, began_at)
        chain = hub.ask("GET", "/ledger/verification")
    seen = look(url, "zhang", accounts["zhang"], INCIDENT, failure)
    return {
        "cameras": len(cameras),
        "sightings": sum(classes.values()),
        "classes": classes,
        "clips": sum(clips[s] for s in ("announced", "uploaded", "verified", "refused")),
        "clips_verified": clips["verified"],
        "seal_chain_ok": clips["chains_ok"] and clips["chains_broken"] == 0,
        "ledger_entries": chain["entries"],
        "ledger_ok": chain["ok"],
        "search_p95_ms": round(statistics.quantiles(search_ms, n=20)[-1], 1),
        "search_p50_ms": round(statistics.median(search_ms), 1),
        "appear_to_searchable_p50_s": round(statistics.median(delays), 2) if delays else None,
        **seen,
        "proposed_links": links,
    }


def _span(began_at: datetime) -> dict[str, str]:
    return {
        "from_at": (began_at - timedelta(minutes=2)).isoformat(),
        "to_at": (began_at + timedelta(hours=1)).isoformat(),
    }


def _watch_sightings(hub: HubClient, began_at: datetime, work_s: float) -> list[float]:
    """Seconds from an object's first frame to its first appearance in a search result."""
    seen: set[str] = set()
    delays: list[float] = []
    end = time.monotonic() + work_s
    while time.monotonic() < end:
        page = hub.ask("GET", "/search/sightings", limit=40, **_span(began_at))
        now = datetime.now(UTC)
        for hit in page["items"]:
            if hit["id"] in seen:
                continue
            seen.add(hit["id"])
            start = datetime.fromisoformat(hit["start_at"])
            if start > began_at:  # what was there before we looked says nothing about the delay
                delays.append((now - start).total_seconds())
        time.sleep(POLL_S)
    return delays


def _verified_clips(hub: HubClient) -> dict[str, Any]:
    """The clips' summary at a moment when everything announced has been verified."""
    end = time.monotonic() + VERIFY_WITHIN_S
    while True:
        summary: dict[str, Any] = hub.ask("GET", "/clips/summary")
        done = summary["announced"] == summary["uploaded"] == 0 and summary["chains_waiting"] == 0
        if (done and summary["verified"] >= 4) or time.monotonic() > end:
            return summary
        time.sleep(POLL_S)


def _classes(hub: HubClient, began_at: datetime) -> dict[str, int]:
    counts: dict[str, int] = hub.ask("GET", "/search/histogram", **_span(began_at))["by_class"]
    return dict(Counter(counts).most_common())


def _search_times(hub: HubClient, began_at: datetime, camera_ids: list[str]) -> list[float]:
    """Whole-request milliseconds over a mix of searches."""
    mix: list[dict[str, Any]] = [
        {},
        {"classes": "person"},
        {"classes": "car", "colours": "white"},
        {"q": "行人"},
        {"camera_ids": camera_ids[0]},
        {"min_duration_ms": 2000, "min_score": 0.5},
    ]
    out = []
    for number in range(SEARCHES):
        query = {**_span(began_at), **mix[number % len(mix)]}
        began = time.perf_counter()
        hub.ask("GET", "/search/sightings", **query)
        out.append((time.perf_counter() - began) * 1000)
    return out


def _proposed_links(hub: HubClient, cameras: list[dict[str, Any]], began_at: datetime) -> int:
    """Reports a theft beside the first camera, now, and counts what is proposed."""
    place = cameras[0]["position"]
    now = datetime.now(UTC)
    incident = hub.ask(
        "POST",
        "/incidents",
        {
            "category": "theft_vehicle",
            "title": INCIDENT,
            "position": {"lon": place["lon"] + 0.0002, "lat": place["lat"]},
            "occurred_from": began_at.isoformat(),
            "occurred_to": now.isoformat(),
        },
    )
    found = hub.ask("GET", f"/incidents/{incident['id']}/links")["items"]
    if found:
        best = found[0]
        hub.ask(
            "PUT",
            f"/incidents/{incident['id']}/links/{best['target_kind']}/{best['target_id']}",
            {"decision": "confirmed"},
        )
        if hub.ask("GET", f"/incidents/{incident['id']}")["confirmed_links"] != 1:
            raise DemoError("a confirmed link is not counted")
    return len(found)
