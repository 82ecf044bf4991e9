"""No footage route without a permission and a ledger row; no route at all without exactly one declared permission.

The walk takes the routes from the app as FastAPI serves them, so that a new route is covered by being there. A new footage
route fails `test_every_footage_route_has_an_example` until it has one; a new public route until it is named public here.
"""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx
import nats
import pytest
import pytest_asyncio
from fastapi import APIRouter, Depends, FastAPI
from nats.aio.msg import Msg

import hub.app
from hub.app import create_app
from hub.cameras.looks import SNAPSHOT_USE
from hub.clips.service import PLAY_USE
from hub.context import Context
from hub.identity.guard import CSRF_HEADER, WITHOUT_SESSION, open_to, requires
from hub.identity.model import FOOTAGE, GRANTED, Permission, Principal, Role
from hub.ingest.service import handle_uplink
from hub.live.gate import DatabaseGate
from hub.live.model import LiveConfig
from hub.live.relay import Relay
from hub.live.service import WHEP_USE, LiveHub
from hub.live.upstreams import WHIP_USE
from hub.messages.credentials import mint_user_jwt
from hub.sightings.service import PICTURE_USE
from hub.web.routes import ServedRoute, faults, served_routes
from models.keys import SigningKey
from models.wire.agent_http import make_request_token
from models.wire.downlink import CommandReply, down_subject
from models.wire.uplink import DeviceFound
from tests.media.peers import Received, viewer_offer
from tests.people import Person, device, ledger_rows, person
from tests.seeding import Village, jpeg, seed_village

# Routes anybody may call: each is here on purpose.
PUBLIC = {"sign_in", "enrol_agent", "show_health", "show_metrics", "show_openapi", "page"}

TOKEN_USES = {PLAY_USE, PICTURE_USE, SNAPSHOT_USE, WHEP_USE, WHIP_USE}


def routes_of(app: FastAPI, *permissions: Permission) -> list[ServedRoute]:
    """Routes with one of these permissions."""
    return [route for route in served_routes(app) if set(route.permissions) & set(permissions)]


def guarded(app: FastAPI) -> list[ServedRoute]:
    """Routes that need a session."""
    return [route for route in served_routes(app) if not set(route.permissions) & WITHOUT_SESSION]


def filled(path: str, **values: object) -> str:
    """The path with its parameters; those without a value get an id nobody has."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda match: str(values.get(match[1], uuid4())), path)


# the declarations ---------------------------------------------------------------------------------------------


async def test_every_route_declares_exactly_one_permission(context: Context) -> None:
    app = create_app(context)
    assert len(list(served_routes(app))) > 50
    assert faults(app) == []


async def test_only_the_named_routes_are_public(context: Context) -> None:
    assert {route.name for route in routes_of(create_app(context), Permission.PUBLIC)} == PUBLIC


async def test_names_are_unique(context: Context) -> None:
    routes = {(route.name, route.path) for route in served_routes(create_app(context))}
    names = [name for name, _ in routes]
    assert sorted(names) == sorted(set(names))


async def test_an_app_with_an_unguarded_route_does_not_start(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded = APIRouter()

    @seeded.get("/forgotten")
    async def forgotten() -> str:
        return "footage"

    monkeypatch.setattr(hub.app, "ROUTERS", (*hub.app.ROUTERS, seeded))
    with pytest.raises(RuntimeError, match="GET /api/v1/forgotten declares 0 permissions"):
        create_app(context)


def test_the_walk_finds_what_is_wrong_with_seeded_routes() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    inner, outer = APIRouter(), APIRouter()

    @inner.get("/none")
    async def none() -> None: ...

    @inner.get("/two", dependencies=[Depends(requires(Permission.SEARCH))])
    async def two(_who: Annotated[Principal, Depends(requires(Permission.PLAY))]) -> None: ...

    @inner.get("/one", dependencies=[Depends(requires(Permission.SEARCH))])
    async def one() -> None: ...

    def through(who: Annotated[Principal, Depends(requires(Permission.LIVE))]) -> Principal:
        return who

    @inner.get("/deep")
    async def deep(_who: Annotated[Principal, Depends(through)]) -> None: ...

    outer.include_router(inner, prefix="/outer")
    app.include_router(outer, prefix="/api")
    app.mount("/mounted", lambda scope, receive, send: None)  # type: ignore[arg-type,return-value]
    assert faults(app) == [
        "GET /api/outer/none declares 0 permissions",
        "GET /api/outer/two declares 2 permissions",
        "* /mounted declares 0 permissions",
    ]


@pytest.mark.parametrize("permission", sorted(set(Permission) - WITHOUT_SESSION))
def test_a_permission_that_needs_a_session_cannot_be_declared_open(permission: Permission) -> None:
    with pytest.raises(ValueError, match="needs a session"):
        open_to(permission)


# refusals -----------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def app(context: Context) -> FastAPI:
    return create_app(context)


@dataclass
class People:
    """Somebody of every role, with and without a purpose."""

    idle: dict[Role, Person]
    purposeful: dict[Role, Person]


@pytest_asyncio.fixture(loop_scope="session")
async def people(app: FastAPI) -> AsyncIterator[People]:
    async with AsyncExitStack() as stack:
        idle = {role: await stack.enter_async_context(person(app, role)) for role in Role}
        purposeful = {role: await stack.enter_async_context(person(app, role, purpose=True)) for role in Role}
        yield People(idle, purposeful)


async def call(client: httpx.AsyncClient, route: ServedRoute, **kw: Any) -> httpx.Response:
    """The route with ids nobody has and no body."""
    return await client.request(route.method, f"http://hub.test{filled(route.path)}", **kw)


async def test_nobody_gets_in_without_a_session(app: FastAPI, people: People) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as stranger:
        for route in guarded(app):
            answer = await call(stranger, route)
            assert (answer.status_code, answer.json()["code"]) == (401, "session.missing"), route


async def test_no_unsafe_route_takes_a_session_without_the_csrf_token(app: FastAPI, people: People) -> None:
    for route in guarded(app):
        if route.method in {"GET", "HEAD"}:
            continue
        role = next(role for role in Role if route.permissions[0] in GRANTED[role])
        answer = await call(people.purposeful[role].client, route, headers={CSRF_HEADER: ""})
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf.invalid"), route


async def test_no_role_gets_further_than_its_permissions(app: FastAPI, people: People) -> None:
    for route in guarded(app):
        for role, one in people.purposeful.items():
            if route.permissions[0] not in GRANTED[role]:
                answer = await call(one.client, route)
                assert (answer.status_code, answer.json()["code"]) == (403, "permission.missing"), (route, role)


async def test_footage_without_a_right_is_refused_and_recorded(app: FastAPI, people: People, context: Context) -> None:
    footage = routes_of(app, *FOOTAGE)
    assert footage
    for route in footage:
        for role in Role:
            if route.permissions[0] in GRANTED[role]:
                one, code = people.idle[role], "purpose.missing"
            else:
                one, code = people.purposeful[role], "permission.missing"
            before = len(await ledger_rows(context))
            answer = await call(one.client, route)
            assert (answer.status_code, answer.json()["code"]) == (403, code), (route, role)
            (row,) = (await ledger_rows(context))[before:]
            assert (row["action"], row["actor_id"]) == ("access.denied", one.who.user_id)
            assert row["detail"]["permission"] == route.permissions[0].value
            assert (row["detail"]["code"], row["detail"]["path"]) == (code, answer.request.url.path)


async def test_duty_opens_what_is_now_and_nothing_that_is_kept(app: FastAPI, people: People, context: Context) -> None:
    now_shown = {Permission.LIVE, Permission.SNAPSHOT}
    officer = people.idle[Role.INVESTIGATOR]
    (await officer.client.put("session/purpose", json={"kind": "duty", "note": "watch"})).raise_for_status()
    for route in routes_of(app, *FOOTAGE):
        before = len(await ledger_rows(context))
        answer = await call(officer.client, route)
        code = answer.json().get("code", "")
        if route.permissions[0] in now_shown:
            assert not code.startswith("purpose."), route
            continue
        assert (answer.status_code, code) == (403, "purpose.incident_needed"), route
        (row,) = (await ledger_rows(context))[before:]
        assert (row["action"], row["purpose_kind"], row["detail"]["code"]) == ("access.denied", "duty", code)


# looks --------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """A hub with one of everything that can be looked at."""

    app: FastAPI
    context: Context
    village: Village
    officer: Person
    values: dict[str, object] = field(default_factory=dict)


@asynccontextmanager
async def _answering_agent(context: Context, agent_id: UUID, key: SigningKey) -> AsyncIterator[None]:
    """An agent on real NATS that says yes to every command."""

    async def hear(message: Msg) -> None:
        await message.respond(CommandReply(ok=True).model_dump_json().encode())

    jwt, _ = mint_user_jwt(context.account_key, key.public_raw, agent_id, timedelta(hours=1))
    client = await nats.connect(
        servers=context.nats_public_urls,
        user_jwt_cb=jwt.encode,
        signature_cb=lambda nonce: base64.b64encode(key.sign(nonce.encode())),
        inbox_prefix=f"_INBOX_{agent_id}".encode(),
        allow_reconnect=False,
    )
    await client.subscribe(down_subject(agent_id, "command"), cb=hear)
    await client.flush()
    yield
    await client.close()


@pytest_asyncio.fixture(loop_scope="session")
async def world(context: Context) -> AsyncIterator[World]:
    config = LiveConfig()
    live = LiveHub(context, Relay(config), DatabaseGate(context), config)
    app = create_app(context, live=live)
    village = await seed_village(context, cameras=1)
    twin, camera_id = village.twin, village.cameras[0]
    still: DeviceFound = device(camera_id, snapshot=jpeg())
    await handle_uplink(context, twin.agent_id, "device", still.model_dump_json().encode())
    seen = await twin.see(context, camera_id)
    clip = await twin.deliver(context, camera_id, b"a clip's bytes", sightings=[seen])
    async with (
        person(app, Role.INVESTIGATOR, purpose=True) as officer,
        _answering_agent(context, twin.agent_id, twin.key),
    ):
        now = context.clock()
        incident = await officer.client.post(
            "incidents",
            json={
                "category": "theft_home",
                "title": "晒场失窃",
                "position": {"lon": 104.9, "lat": 25.09},
                "occurred_from": (now - timedelta(hours=1)).isoformat(),
                "occurred_to": now.isoformat(),
            },
        )
        yield World(
            app,
            context,
            village,
            officer,
            {
                "camera_id": camera_id,
                "clip_id": clip.seal.body.clip_id,
                "sighting_id": seen.sighting_id,
                "incident_id": incident.json()["id"],
                "start_at": seen.start_at.isoformat(),
                "from_at": (now - timedelta(hours=2)).isoformat(),
                "to_at": now.isoformat(),
            },
        )
        await live.close()


@dataclass(frozen=True)
class Look:
    """How a footage route is rightly called, and which ledger row it must leave. `action` None: `why` says what row covers it."""

    action: str | None
    params: tuple[str, ...] = ()
    body: Callable[[World], dict[str, Any]] | None = None
    before: Callable[[World], Awaitable[dict[str, object]]] | None = None
    why: str = ""


async def _watching(world: World) -> dict[str, object]:
    ask = {"camera_id": str(world.values["camera_id"]), "stream": "sub"}
    answer = await world.officer.client.post("live/sessions", json=ask)
    assert answer.status_code == 201, answer.text
    return {"session_id": answer.json()["id"]}


def _live_ask(world: World) -> dict[str, Any]:
    return {"camera_id": str(world.values["camera_id"]), "stream": "sub"}


LOOKS: dict[str, Look] = {
    "search_sightings": Look("footage.searched", params=("from_at", "to_at")),
    "search_histogram": Look("footage.searched", params=("from_at", "to_at")),
    "show_sighting": Look("footage.searched", params=("start_at",)),
    "list_clips": Look("footage.searched"),
    "show_clip": Look("footage.searched"),
    "play_clip": Look("footage.clip_played"),
    "clip_sightings": Look("footage.searched"),
    "proposed_links": Look("footage.links_proposed"),
    "open_camera_snapshot": Look("footage.snapshot_seen"),
    "open_live_session": Look("footage.live_watched", body=_live_ask),
    "renew_live_lease": Look(None, before=_watching, why="the row of open_live_session; a lease opens no new picture"),
    "end_live_session": Look("footage.live_ended", before=_watching),
}


async def test_every_footage_route_has_an_example(context: Context) -> None:
    assert {route.name for route in routes_of(create_app(context), *FOOTAGE)} == set(LOOKS)


async def _row_after(world: World, before: int, action: str) -> dict[str, Any]:
    """The first row of `action` after the first `before` rows; some are written just after the answer."""
    deadline = asyncio.get_running_loop().time() + 5
    while True:
        rows = [row for row in (await ledger_rows(world.context))[before:] if row["action"] == action]
        if rows:
            return rows[0]
        assert asyncio.get_running_loop().time() < deadline, f"no ledger row {action}"
        await asyncio.sleep(0.02)


async def test_every_look_with_a_right_and_a_purpose_is_a_ledger_row(world: World) -> None:
    for route in routes_of(world.app, *FOOTAGE):
        look = LOOKS[route.name]
        values = world.values | (await look.before(world) if look.before else {})
        before = len(await ledger_rows(world.context))
        answer = await world.officer.client.request(
            route.method,
            f"http://hub.test{filled(route.path, **values)}",
            params={name: str(values[name]) for name in look.params},
            json=look.body(world) if look.body else None,
        )
        assert answer.is_success, (route, answer.text)
        if look.action is None:
            assert look.why
            continue
        row = await _row_after(world, before, look.action)
        assert row["actor_id"] == world.officer.who.user_id, route
        assert (row["purpose_kind"], row["purpose_note"]) == ("incident", "watch"), route


# tokens -------------------------------------------------------------------------------------------------------

_TOKEN_CODES = {"token.invalid", "token.expired", "token.missing", "token.other_user"}


async def _token_call(world: World, route: ServedRoute, token: str | None, sdp: str) -> httpx.Response:
    headers = {b"Content-Type": b"application/sdp"} if route.method == "POST" else {}
    params = {}
    if token is not None and "LIVE" in route.permissions[0].name:
        headers[b"Authorization"] = f"Bearer {token}".encode()
    elif token is not None:
        params["token"] = token
    return await world.officer.client.request(
        route.method,
        f"http://hub.test{filled(route.path, **world.values)}",
        params=params,
        headers=headers,
        content=sdp if route.method == "POST" else None,
    )


def _code(answer: httpx.Response) -> str:
    return "" if answer.request.method == "HEAD" else str(answer.json()["code"])


async def test_routes_that_take_a_token_take_none_but_their_own(world: World) -> None:
    pc, sdp = await viewer_offer(Received())
    signer, life = world.context.signer, timedelta(minutes=1)
    claims = {"user": str(world.officer.who.user_id), "at": world.values["start_at"], "ledger": 1}
    routes = routes_of(world.app, Permission.MEDIA_TOKEN, Permission.LIVE_TOKEN)
    assert {route.name for route in routes} >= {"clip_bytes", "sighting_picture", "read_camera_snapshot", "whep_offer"}
    for route in routes:
        missing = await _token_call(world, route, None, sdp)
        assert missing.status_code in {401, 403, 422}, route
        assert _code(missing) in {*_TOKEN_CODES, "request.invalid", ""}, route
        for nonsense in ("", "x", "a.b", "e30.AAAA", "." * 100, "é.ü"):
            answer = await _token_call(world, route, nonsense, sdp)
            assert answer.status_code in {401, 403, 422}, (route, nonsense)
        for use in [*TOKEN_USES, "of.nobody"]:
            foreign, _ = signer.mint(use, {**claims, **{key: str(uuid4()) for key in ("id", "sid", "camera")}}, life)
            answer = await _token_call(world, route, foreign, sdp)
            assert answer.status_code == 403, (route, use, answer.text)
            assert _code(answer) in {"token.invalid", ""}, (route, use)
            over, _ = signer.mint(use, {**claims, **_own(world)}, -life)
            answer = await _token_call(world, route, over, sdp)
            assert answer.status_code == 403, (route, use, answer.text)
            assert _code(answer) in {"token.invalid", "token.expired", ""}, (route, use)
        body = signer.mint(PLAY_USE, {**claims, **_own(world)}, life)[0]
        forged = body[:-2] + ("AA" if not body.endswith("AA") else "BB")
        assert (await _token_call(world, route, forged, sdp)).status_code == 403, route
    await pc.close()


def _own(world: World) -> dict[str, str]:
    return {"id": str(world.values["clip_id"]), "sid": str(uuid4()), "camera": str(world.values["camera_id"])}


async def test_agent_routes_take_only_an_agents_own_signature(world: World) -> None:
    twin, stranger = world.village.twin, SigningKey.generate()
    now = world.context.clock().timestamp()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=world.app)) as client:
        for route in routes_of(world.app, Permission.AGENT):
            path = filled(route.path, **world.values)
            tokens = {
                "agent.token_signature": make_request_token(stranger, twin.agent_id, route.method, path, b"", now),
                "agent.unknown": make_request_token(stranger, uuid4(), route.method, path, b"", now),
                "agent.token_expired": make_request_token(twin.key, twin.agent_id, route.method, path, b"", now - 99),
                "agent.token_other_request": make_request_token(twin.key, twin.agent_id, "GET", "/", b"", now),
                "agent.token_missing": "",
            }
            for code, token in tokens.items():
                headers = {"Authorization": f"QianshaoAgent {token}"} if token else {}
                answer = await client.request(route.method, f"http://hub.test{path}", headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, code), route
