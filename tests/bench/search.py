"""Latency of search over many sightings: `python -m tests.bench.search [--rows 200000] [--days 30] [--repeats 30]`.

Through the API (guard, purpose, SQL, ledger row, signed picture URLs), in process, on the embedded PostgreSQL. Rows are made by
the database itself and spread evenly over days and 40 cameras. The last line is one JSON object.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
from sqlalchemy import text

from hub.context import Context
from hub.kit.shapes import Position
from hub.sightings.service import ensure_partitions
from tests.seeding import HOME, Village, seed_agent, seed_camera, signed_in
from tests.servers import context_on, drop_database, fresh_database, servers_in

CAMERAS = 40

_FILL = text(
    """
    insert into sightings (id, camera_id, agent_id, revision, final, object_class, start_at, end_at, best_at, best_score,
        best_box, trajectory, colours, colour_names, zones, detector, clock, picture_key, received_at)
    select gen_random_uuid(), (cast(:cameras as uuid[]))[1 + n % :camera_count], :agent, 1, true,
        -- persons and cars are common, a horse is one in a thousand
        case when n % 1000 = 0 then 'horse' when n % 10 < 5 then 'person' when n % 10 < 8 then 'car'
             when n % 10 = 8 then 'motorcycle' else 'truck' end,
        at, at + make_interval(secs => 2 + n % 60), at, 0.4 + (n % 60) / 100.0,
        '{"x": 0.4, "y": 0.4, "w": 0.1, "h": 0.2}', path.points, '[]',
        array[(array['white', 'black', 'red', 'grey', 'blue', 'green', 'yellow'])[1 + n % 7]],
        case when n % 9 = 0 then array['晒场'] else '{}' end, '{"name": "bench", "sha256": ""}',
        '{"offset_ms": 0, "uncertainty_ms": 500}', 'sightings/none.jpg', at
    from (select n, cast(:until as timestamptz) - make_interval(secs => cast(n as float8) * :step_s) as at
          from generate_series(0, cast(:rows as int) - 1) as n) as made,
        (select jsonb_agg(jsonb_build_object('t_ms', i * 200,
            'box', '{"x": 0.4, "y": 0.4, "w": 0.1, "h": 0.2}'::jsonb)) as points from generate_series(1, 40) as i) as path
    """
)


async def fill(context: Context, rows: int, days: int) -> tuple[Village, float]:
    """Cameras and `rows` sightings over the last `days`; seconds it took."""
    since = context.clock() - timedelta(days=days + 1)
    twin = await seed_agent(context, now=since)
    cameras = [
        await seed_camera(
            context,
            twin,
            f"相机 {number}",
            village=("纳姑村", "青山镇", "马岭", "普安")[number % 4],
            position=Position(lon=HOME.lon + number % 8 * 0.01, lat=HOME.lat + number // 8 * 0.01),
            now=since,
        )
        for number in range(CAMERAS)
    ]
    async with context.db.transaction() as tx:
        await ensure_partitions(tx, since.date(), ahead=days + 2)
    began = time.perf_counter()
    async with context.db.transaction() as tx:
        values = {
            "cameras": cameras,
            "camera_count": CAMERAS,
            "agent": twin.agent_id,
            "until": context.clock(),
            "step_s": days * 86400 / rows,
            "rows": rows,
        }
        await tx.execute(_FILL, values)
    took_s = time.perf_counter() - began
    # What autovacuum does to a database that has been up for a while.
    url = context.db.url.replace("postgresql+psycopg://", "postgresql://")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("vacuum analyze sightings")
    return Village(twin, cameras), took_s


async def timed(ask: Callable[[], Awaitable[httpx.Response]], repeats: int) -> dict[str, float]:
    """p50 and p95 in ms, after two warm-up calls, and the hits of the last answer."""
    took = []
    answer = await ask()
    for number in range(repeats + 2):
        began = time.perf_counter()
        answer = await ask()
        if number >= 2:
            took.append((time.perf_counter() - began) * 1000)
    answer.raise_for_status()
    body = answer.json()
    hits = body["total"] if "total" in body else len(body["items"])
    ranked = sorted(took)
    p95 = ranked[min(len(ranked) - 1, int(len(ranked) * 0.95))]
    return {"p50_ms": round(statistics.median(took), 1), "p95_ms": round(p95, 1), "hits": hits}


async def measure(context: Context, village: Village, days: int, repeats: int) -> dict[str, dict[str, float]]:
    """Each kind of question."""
    now = context.clock()
    whole = {"from_at": (now - timedelta(days=days)).isoformat(), "to_at": now.isoformat()}
    day = {"from_at": (now - timedelta(days=1)).isoformat(), "to_at": now.isoformat()}
    area = ";".join(
        f"{HOME.lon + x},{HOME.lat + y}"
        for x, y in ((-0.005, -0.005), (0.015, -0.005), (0.015, 0.015), (-0.005, 0.015))
    )
    questions: dict[str, tuple[str, dict[str, Any]]] = {
        "newest, one day": ("sightings", day),
        "newest, all days": ("sightings", whole),
        "class and colour": ("sightings", whole | {"classes": "truck", "colours": "red"}),
        "rare class": ("sightings", whole | {"classes": "horse"}),
        "nothing fits": ("sightings", whole | {"classes": "horse", "colours": "red", "min_score": "0.99"}),
        "one camera": ("sightings", whole | {"camera_ids": str(village.cameras[7])}),
        "map area": ("sightings", whole | {"area": area}),
        "zone and duration": ("sightings", whole | {"zone": "晒场", "min_duration_ms": "55000"}),
        "words": ("sightings", whole | {"q": "青山镇 白色轿车"}),
        "histogram, one day": ("histogram", day),
        "histogram, all days": ("histogram", whole),
    }
    found = {}
    async with signed_in(context, "investigator") as client:
        for name, (path, params) in questions.items():

            async def ask(path: str = path, params: dict[str, Any] = params) -> httpx.Response:
                return await client.get(f"/search/{path}", params=params, timeout=120)

            found[name] = await timed(ask, repeats)
        found["a page far down"] = await timed(await far_down(client, whole), repeats)
        found["links of an incident"] = await timed(await incident_links(client, now), repeats)
    return found


async def far_down(client: httpx.AsyncClient, whole: dict[str, str]) -> Callable[[], Awaitable[httpx.Response]]:
    """The twentieth page of a hundred."""
    cursor = ""
    for _ in range(20):
        params = whole | {"limit": "100"} | ({"cursor": cursor} if cursor else {})
        cursor = (await client.get("/search/sightings", params=params)).json()["next_cursor"]

    async def ask() -> httpx.Response:
        return await client.get("/search/sightings", params=whole | {"limit": "100", "cursor": cursor})

    return ask


async def incident_links(client: httpx.AsyncClient, now: Any) -> Callable[[], Awaitable[httpx.Response]]:
    """Links of a theft in the middle of the cameras."""
    at = (now - timedelta(days=2)).isoformat()
    wish = {
        "category": "theft_vehicle",
        "title": "bench",
        "position": {"lon": HOME.lon, "lat": HOME.lat},
        "occurred_from": at,
        "occurred_to": at,
    }
    made = (await client.post("/incidents", json=wish)).json()

    async def ask() -> httpx.Response:
        return await client.get(f"/incidents/{made['id']}/links")

    return ask


async def bench(rows: int, days: int, repeats: int) -> dict[str, Any]:
    """The whole measurement."""
    with tempfile.TemporaryDirectory(prefix="qianshao-bench-") as folder:
        async with servers_in(Path(folder) / "data") as servers:
            url = await fresh_database(servers)
            try:
                async with context_on(servers, url) as context:
                    village, filled_s = await fill(context, rows, days)
                    queries = await measure(context, village, days, repeats)
            finally:
                await drop_database(servers, url)
    return {
        "bench": "search",
        "rows": rows,
        "days": days,
        "cameras": CAMERAS,
        "repeats": repeats,
        "rows_per_s_bulk": round(rows / filled_s),
        "search_p95_ms": max(one["p95_ms"] for one in queries.values()),
        "queries": queries,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=30)
    args = parser.parse_args()
    sys.stdout.write(json.dumps(asyncio.run(bench(args.rows, args.days, args.repeats)), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
