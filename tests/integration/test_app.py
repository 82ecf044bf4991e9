"""The app as a whole: problems, headers, limits, the page and the health route."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import Depends, FastAPI
from structlog.testing import capture_logs

from hub.app import create_app
from hub.context import Context
from hub.db.engine import Database
from hub.errors import Unavailable
from hub.identity.guard import open_to
from hub.identity.model import Permission, Role
from hub.web import problem
from hub.web.basemap import read_basemap
from hub.web.boundary import MAX_BODY_BYTES
from hub.web.page import page_router
from tests.people import person, visitor


async def test_every_answer_carries_the_security_headers_and_an_id(context: Context) -> None:
    async with visitor(create_app(context)) as client:
        for path in ("health", "session", "no/such/route", "/", "/index.html"):
            answer = await client.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "http" not in policy
            assert "unsafe-eval" not in policy
            assert "script-src 'self';" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["x-request-id"]


async def test_a_request_id_is_taken_over_only_when_it_is_plain(context: Context) -> None:
    async with visitor(create_app(context)) as client:
        kept = await client.get("session", headers={"X-Request-Id": "abcdef-12345678"})
        assert kept.headers["x-request-id"] == kept.json()["request_id"] == "abcdef-12345678"
        odd = await client.get("session", headers={"X-Request-Id": "a b;c\t<script>"})
        assert odd.headers["x-request-id"] != "a b;c\t<script>"


async def test_unknown_paths_and_methods_are_problems(context: Context) -> None:
    async with visitor(create_app(context)) as client:
        missing = await client.get("nothing/here")
        assert (missing.status_code, missing.json()["code"]) == (404, "request.not_found")
        assert missing.headers["content-type"] == "application/problem+json"
        wrong = await client.put("session")
        assert (wrong.status_code, wrong.json()["code"]) == (405, "request.method_not_allowed")


async def test_an_invalid_request_names_the_fields_and_repeats_no_value(context: Context) -> None:
    async with visitor(create_app(context)) as client:
        answer = await client.post("session", json={"username": "x", "password": {"my secret": "hunter2"}, "more": 1})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "request.invalid")
    assert {field["path"] for field in body["fields"]} == {"body.password", "body.more"}
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe", b"[" * 5000, b"null", b'{"username": "a\\u0000b", "password": "x"}']
)
async def test_hostile_bodies_are_refused_in_an_orderly_way(context: Context, body: bytes) -> None:
    async with visitor(create_app(context)) as client:
        answer = await client.post("session", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.json()["code"].startswith("request.")


async def test_a_body_over_the_limit_is_refused_whether_announced_or_not(context: Context) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 65536 + 2):
            yield b" " * 65536

    async with visitor(create_app(context)) as client:
        announced = await client.post("session", content=b" " * (MAX_BODY_BYTES + 1))
        assert (announced.status_code, announced.json()["code"]) == (413, "request.too_large")
        streamed = await client.post(
            "session",
            content=endless(),
            headers={"Content-Type": "application/json"},
        )
        assert (streamed.status_code, streamed.json()["code"]) == (413, "request.too_large")


async def test_an_unexpected_error_leaves_an_id_here_and_the_story_in_the_log(context: Context) -> None:
    whole = create_app(context)

    @whole.get("/api/v1/broken", dependencies=[Depends(open_to(Permission.PUBLIC))])
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    # The page's catch-all is mounted last: move the seeded route before it.
    whole.router.routes.insert(0, whole.router.routes.pop())
    with capture_logs() as logs:
        async with visitor(whole) as client:
            answer = await client.get("broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "hunter2" not in answer.text
    line = next(line for line in logs if line["event"] == "request_failed")
    assert line["path"] == "/api/v1/broken"
    assert line["exc_info"]


async def test_a_database_that_is_away_is_503(context: Context) -> None:
    away = Database("postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=2")
    async with visitor(create_app(replace(context, db=away))) as client:
        answer = await client.get("session", headers={"Cookie": "qs_session=abc"})
        assert (answer.status_code, answer.json()["code"]) == (503, "database.unavailable")
        health = await client.get("health")
        assert health.status_code == 503
        assert health.json()["parts"] == {"database": "down", "storage": "ok", "messages": "ok"}
    await away.close()


async def test_health_and_metrics_answer_without_a_session(context: Context) -> None:
    async with visitor(create_app(context)) as client:
        health = await client.get("health")
        assert health.json() == {"status": "ok", "parts": {"database": "ok", "storage": "ok", "messages": "ok"}}
        await client.get("nothing/here")
        metrics = await client.get("metrics")
        assert metrics.status_code == 200
        assert 'qianshao_http_seconds_count{handler="show_health",method="GET",status="200"}' in metrics.text
        assert "nothing" not in metrics.text


async def test_openapi_is_complete_and_typed(context: Context) -> None:
    async with visitor(create_app(context)) as client:
        document = (await client.get("openapi.json")).json()
    operations = [(path, operation) for path, methods in document["paths"].items() for operation in methods.values()]
    assert document["paths"]["/api/v1/search/sightings"]["get"]["x-permission"] == "footage.search"
    assert document["paths"]["/api/v1/session"]["post"]["security"] == []
    ids = [operation["operationId"] for _, operation in operations]
    assert len(ids) == len(set(ids))
    for path, operation in operations:
        assert path.startswith("/api/v1/")
        assert operation["tags"], path
        assert "default" in operation["responses"], path
        assert "HTTPValidationError" not in json.dumps(operation)
        for status, response in operation["responses"].items():
            if status.startswith("2") and status != "204":
                contents = response.get("content", {})
                assert contents, f"{path} {status} has no content type"
                plain = contents.get("application/json")
                assert plain is None or plain["schema"], f"{path} {status} is untyped"
    references = set(json.dumps(document).split('"#/components/schemas/')[1:])
    named = {reference.split('"')[0] for reference in references}
    assert named <= set(document["components"]["schemas"])


# the page -----------------------------------------------------------------------------------------------------


def _page(static: Path) -> FastAPI:
    app = FastAPI(openapi_url=None)
    problem.install(app)
    app.include_router(page_router(static))
    return app


async def _get(app: FastAPI, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub.test") as client:
        return await client.get(path)


async def test_without_a_build_a_plain_page_says_what_to_do(tmp_path: Path) -> None:
    answer = await _get(_page(tmp_path / "none"), "/search")
    assert answer.status_code == 503
    assert "make setup" in answer.text


async def test_the_built_page_is_served_with_its_own_routes(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>page")
    (tmp_path / "assets" / "index-abc123.js").write_text("1")
    app = _page(tmp_path)
    for path in ("/", "/search", "/incidents/42", "/index.html"):
        answer = await _get(app, path)
        assert (answer.status_code, answer.text) == (200, "<!doctype html>page")
        assert answer.headers["cache-control"] == "no-cache"
    asset = await _get(app, "/assets/index-abc123.js")
    assert "immutable" in asset.headers["cache-control"]
    assert "javascript" in asset.headers["content-type"]
    assert (await _get(app, "/assets/gone.js")).status_code == 404
    assert (await _get(app, "/api/v1/gone")).json()["code"] == "request.not_found"


@pytest.mark.parametrize(
    "path", ["/../secret", "/..%2fsecret", "/assets/..%2f..%2fsecret", "/%2e%2e/secret", "/link", "/a%00b"]
)
async def test_nothing_outside_the_folder_is_served(tmp_path: Path, path: str) -> None:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("page")
    (tmp_path / "secret").write_text("hunter2")
    (static / "link").symlink_to(tmp_path / "secret")
    assert "hunter2" not in (await _get(_page(static), path)).text


# the basemap --------------------------------------------------------------------------------------------------


async def test_the_basemap_is_empty_without_one(context: Context) -> None:
    async with person(create_app(context), Role.MONITOR) as monitor:
        answer = await monitor.client.get("basemap")
    assert answer.json() == {"type": "FeatureCollection", "features": []}


def test_a_basemap_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "village.geojson"
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [104.9, 25.1]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert read_basemap(path).features == [feature]


@pytest.mark.parametrize("content", ["", "[]", "null", '{"type": "Topology"}', '{"type": "FeatureCollection"}', "\x00"])
def test_a_file_that_is_no_basemap_is_named_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "village.geojson"
    path.write_text(content)
    with pytest.raises(Unavailable, match=r"basemap\.unreadable"):
        read_basemap(path)
    with pytest.raises(Unavailable, match=r"basemap\.unreadable"):
        read_basemap(tmp_path / "none")
