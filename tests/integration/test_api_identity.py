"""Sign-in, sessions, purposes and accounts, through the API on a real database."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from hub.app import create_app
from hub.context import Context
from hub.identity import service
from hub.identity.guard import CSRF_HEADER, SESSION_COOKIE
from hub.identity.model import GRANTED, Role
from tests.people import MovableClock, ledger_rows, on_clock, open_incident, person, visitor


async def _sign_in(client: httpx.AsyncClient, username: str, password: str) -> httpx.Response:
    return await client.post("session", json={"username": username, "password": password})


async def test_signing_in_gives_a_session_and_a_ledger_row(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.INVESTIGATOR) as known, visitor(app) as client:
        answer = await _sign_in(client, known.username.upper(), known.password)
        assert answer.status_code == 201
        body = answer.json()
        assert body["user"]["username"] == known.username
        assert set(body["permissions"]) == set(GRANTED[Role.INVESTIGATOR])
        assert body["purpose"] is None
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "secure" not in cookie.replace("samesite", "")
        again = await client.get("session")
        assert again.json()["csrf_token"] == body["csrf_token"]
    assert [row["action"] for row in await ledger_rows(context)][-1] == "session.signed_in"


async def test_the_cookie_is_secure_where_the_hub_is_reached_by_https(context: Context) -> None:
    app = create_app(replace(context, cookie_secure=True))
    async with person(app, Role.MONITOR) as known, visitor(app) as client:
        answer = await _sign_in(client, known.username, known.password)
        assert "; Secure" in answer.headers["set-cookie"]
        assert "max-age" in answer.headers["strict-transport-security"]


async def test_the_database_holds_neither_cookie_nor_password(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.MONITOR) as known, visitor(app) as client:
        await _sign_in(client, known.username, known.password)
        cookie = client.cookies[SESSION_COOKIE]
        async with context.db.transaction() as tx:
            rows = (await tx.execute(text("select s::text from sessions s"))).scalars().all()
            hashes = (await tx.execute(text("select password_hash from users"))).scalars().all()
    assert not any(cookie in row for row in rows)
    assert all(value.startswith("$argon2id$") for value in hashes)


async def test_wrong_password_and_unknown_name_are_told_apart_by_nobody(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.MONITOR) as known, visitor(app) as client:
        wrong = await _sign_in(client, known.username, "not the password")
        unknown = await _sign_in(client, "nobody", "not the password")
    assert wrong.status_code == unknown.status_code == 401
    bodies = [{k: v for k, v in answer.json().items() if k != "request_id"} for answer in (wrong, unknown)]
    assert bodies[0] == bodies[1]
    assert bodies[0]["code"] == "login.failed"
    refused = [row for row in await ledger_rows(context) if row["action"] == "session.refused"]
    assert [row["actor_name"] for row in refused] == [known.username, "nobody"]


async def test_an_unknown_name_is_checked_against_a_password_all_the_same(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Constant time by construction: argon2 runs once, whether there is such an account or not.
    from hub.identity import passwords

    checked: list[str | None] = []
    real = passwords.fits

    async def counted(password_hash: str | None, password: str) -> bool:
        checked.append(password_hash)
        return await real(password_hash, password)

    monkeypatch.setattr(passwords, "fits", counted)
    async with visitor(create_app(context)) as client:
        assert (await _sign_in(client, "nobody", "guess")).status_code == 401
    assert checked == [None]


async def test_guessing_is_stopped_and_says_how_long(context: Context) -> None:
    clock = MovableClock()
    app = create_app(on_clock(context, clock))
    async with person(app, Role.MONITOR) as known, visitor(app) as client, visitor(app, "10.0.0.10") as elsewhere:
        for _ in range(service.PAIR_LIMIT):
            assert (await _sign_in(client, known.username, "guess")).status_code == 401
            clock.move(seconds=10)
        stopped = await _sign_in(client, known.username, known.password)
        assert stopped.status_code == 429
        assert stopped.json()["code"] == "login.too_many"
        wait_s = stopped.json()["retry_after_s"]
        assert stopped.headers["retry-after"] == str(wait_s)
        assert 0 < wait_s <= service.ATTEMPT_WINDOW.total_seconds()
        # The owner, from another address, is not locked out by the stranger.
        assert (await _sign_in(elsewhere, known.username, known.password)).status_code == 201
        clock.move(seconds=wait_s)
        assert (await _sign_in(client, known.username, known.password)).status_code == 201


async def test_parallel_guesses_are_counted_one_by_one(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.MONITOR) as known, visitor(app) as client:
        answers = await asyncio.gather(
            *(_sign_in(client, known.username, f"guess {n}") for n in range(service.PAIR_LIMIT + 4))
        )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [401] * service.PAIR_LIMIT + [429] * 4


async def test_guessing_many_names_from_one_address_is_stopped(context: Context) -> None:
    clock = MovableClock()
    app = create_app(on_clock(context, clock))
    async with context.db.transaction() as tx:
        for n in range(service.ADDRESS_LIMIT):
            await service.begin_sign_in(tx, f"name-{n}", "10.0.0.9", clock())
    async with visitor(app) as client:
        assert (await _sign_in(client, "another", "guess")).status_code == 429


async def test_a_session_ends_when_idle_and_at_last_anyway(context: Context) -> None:
    clock = MovableClock()
    app = create_app(on_clock(context, clock))
    async with person(app, Role.MONITOR) as known:
        clock.move(seconds=service.SESSION_IDLE.total_seconds() + 1)
        assert (await known.client.get("session")).json()["code"] == "session.missing"
    async with person(app, Role.MONITOR) as busy:
        ends = clock() + service.SESSION_LIFE
        while clock() + timedelta(hours=1) < ends:
            clock.move(hours=1)
            assert (await busy.client.get("session")).status_code == 200
        clock.move(hours=1, seconds=1)
        assert (await busy.client.get("session")).status_code == 401


async def test_unsafe_methods_need_the_csrf_token(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin:
        right = admin.client.headers.pop(CSRF_HEADER)
        for given in (None, "", "wrong", "错", right[:-1]):
            headers = {} if given is None else {CSRF_HEADER: given.encode()}
            answer = await admin.client.request("DELETE", "session", headers=headers)  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()["code"]) == (403, "csrf.invalid")
        assert (await admin.client.get("session")).status_code == 200
        assert (await admin.client.delete("session", headers={CSRF_HEADER: right})).status_code == 204
        assert (await admin.client.get("session")).status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "' or 1=1 --", "a" * 5000])
async def test_a_made_up_cookie_opens_nothing(context: Context, cookie: str) -> None:
    async with visitor(create_app(context)) as client:
        answer = await client.get("session", headers={"Cookie": f"{SESSION_COOKIE}={cookie}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "session.missing")


# purpose ------------------------------------------------------------------------------------------------------


async def _incident(context: Context, user_id: UUID, status: str = "open") -> str:
    async with context.db.transaction() as tx:
        return str(await open_incident(tx, user_id, status))


async def test_a_purpose_names_an_open_incident(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.INVESTIGATOR) as officer:
        incident = await _incident(context, officer.who.user_id)
        answer = await officer.client.put("session/purpose", json={"kind": "incident", "incident_id": incident})
        assert answer.status_code == 200
        purpose = answer.json()["purpose"]
        assert (purpose["incident_id"], purpose["incident_title"]) == (incident, "晒场失窃")
        row = (await ledger_rows(context))[-1]
        assert (row["action"], str(row["purpose_incident_id"])) == ("purpose.set", incident)
        cleared = await officer.client.delete("session/purpose")
        assert cleared.json()["purpose"] is None


async def test_a_purpose_ends_with_its_incident(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.INVESTIGATOR) as officer:
        incident = await _incident(context, officer.who.user_id)
        await officer.client.put("session/purpose", json={"kind": "incident", "incident_id": incident})
        async with context.db.transaction() as tx:
            await tx.execute(text("update incidents set status = 'closed'"))
        assert (await officer.client.get("session")).json()["purpose"] is None


async def test_a_purpose_cannot_be_made_up(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.INVESTIGATOR) as officer:
        closed = await _incident(context, officer.who.user_id, "closed")
        asks = {
            "purpose.incident_missing": {"kind": "incident"},
            "incident.not_found": {"kind": "incident", "incident_id": str(uuid4())},
            "purpose.incident_closed": {"kind": "incident", "incident_id": closed},
            "purpose.note_needed": {"kind": "duty", "note": "   "},
            "purpose.incident_not_meant": {"kind": "duty", "note": "x", "incident_id": closed},
            "request.invalid": {"kind": "curiosity", "note": "x"},
        }
        for code, ask in asks.items():
            answer = await officer.client.put("session/purpose", json=ask)
            assert answer.json()["code"] == code
        assert (await officer.client.get("session")).json()["purpose"] is None


async def test_a_test_is_for_those_who_commission_and_stands_as_such_in_the_ledger(context: Context) -> None:
    app, ask = create_app(context), {"kind": "test", "note": "new camera"}
    for role in Role:
        async with person(app, role) as one:
            session = (await one.client.get("session")).json()
            answer = await one.client.put("session/purpose", json=ask)
            if role in {Role.SUPERVISOR, Role.ADMIN}:
                assert answer.status_code == 200, role
                row = (await ledger_rows(context))[-1]
                assert (row["purpose_kind"], row["purpose_note"]) == ("test", "new camera")
                assert "test" in session["purposes"]
            else:
                assert (answer.status_code, answer.json()["code"]) == (403, "purpose.not_allowed"), role
                assert session["purposes"] == ["incident", "duty"]


async def test_a_test_ends_with_the_role_that_may_set_it(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin, person(app, Role.SUPERVISOR) as one:
        (await one.client.put("session/purpose", json={"kind": "test", "note": "x"})).raise_for_status()
        assert (await one.client.get("search/sightings")).json().get("code") != "purpose.not_allowed"
        (await admin.client.patch(f"users/{one.who.user_id}", json={"role": "investigator"})).raise_for_status()
        answer = await one.client.get("search/sightings")
        assert (answer.status_code, answer.json()["code"]) == (403, "purpose.not_allowed")


# accounts -----------------------------------------------------------------------------------------------------


async def test_an_administrator_makes_an_account_that_can_sign_in(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin, visitor(app) as client:
        ask = {"username": "wang.wu", "display_name": "王五", "role": "monitor"}
        made = await admin.client.post("users", json=ask)
        assert made.status_code == 201
        assert (await _sign_in(client, "wang.wu", made.json()["password"])).status_code == 201
        again = await admin.client.post("users", json=ask)
        assert (again.status_code, again.json()["code"]) == (409, "user.name_taken")
        assert "wang.wu" in [user["username"] for user in (await admin.client.get("users")).json()]
        assert "password" not in (await admin.client.get("users")).text
    row = next(row for row in await ledger_rows(context) if row["detail"].get("username") == "wang.wu")
    assert (row["action"], row["actor_name"]) == ("user.created", admin.username)
    assert made.json()["password"] not in str(await ledger_rows(context))


async def test_a_disabled_account_is_out_at_once_and_a_new_role_counts_at_once(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin, person(app, Role.MONITOR) as other, visitor(app) as client:
        url = f"users/{other.who.user_id}"
        await admin.client.patch(url, json={"role": "auditor"})
        assert (await other.client.get("cameras")).status_code == 403
        assert (await admin.client.patch(url, json={"disabled": True})).json()["disabled_at"] is not None
        assert (await other.client.get("session")).status_code == 401
        assert (await _sign_in(client, other.username, other.password)).json()["code"] == "login.failed"
        assert (await admin.client.patch(url, json={"disabled": False})).json()["disabled_at"] is None
        assert (await _sign_in(client, other.username, other.password)).status_code == 201


async def test_the_last_administrator_stays(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin:
        for change in ({"disabled": True}, {"role": "monitor"}):
            answer = await admin.client.patch(f"users/{admin.who.user_id}", json=change)
            assert (answer.status_code, answer.json()["code"]) == (409, "user.last_admin")
        async with person(app, Role.ADMIN) as second:
            first_leaves = admin.client.patch(f"users/{second.who.user_id}", json={"role": "monitor"})
            second_leaves = second.client.patch(f"users/{admin.who.user_id}", json={"role": "monitor"})
            answers = await asyncio.gather(first_leaves, second_leaves)
            assert sorted(answer.status_code for answer in answers) in ([200, 403], [200, 409], [200, 503])
    async with context.db.transaction() as tx:
        left = await tx.execute(text("select count(*) from users where role = 'admin' and disabled_at is null"))
        assert left.scalar_one() == 1


async def test_a_reset_password_ends_all_sessions(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin, person(app, Role.MONITOR) as other, visitor(app) as client:
        made = await admin.client.post(f"users/{other.who.user_id}/password-reset")
        assert (await other.client.get("session")).status_code == 401
        assert (await _sign_in(client, other.username, other.password)).status_code == 401
        assert (await _sign_in(client, other.username, made.json()["password"])).status_code == 201


async def test_changing_ones_password_needs_the_old_one_and_ends_other_sessions(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.MONITOR) as one, visitor(app) as client:
        await _sign_in(client, one.username, one.password)
        new = "a long new password"
        wrong = await one.client.patch("session/user", json={"password": new, "current_password": "wrong"})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "password.current_wrong")
        none = await one.client.patch("session/user", json={"password": new})
        assert none.json()["code"] == "password.current_wrong"
        short = await one.client.patch("session/user", json={"password": "short", "current_password": one.password})
        assert short.json()["code"] == "request.invalid"
        assert one.password not in short.text
        right = await one.client.patch("session/user", json={"password": new, "current_password": one.password})
        assert right.status_code == 200
        assert (await one.client.get("session")).status_code == 200
        assert (await client.get("session")).status_code == 401
        assert (await _sign_in(client, one.username, new)).status_code == 201
        english = await one.client.patch("session/user", json={"locale": "en"})
        assert english.json()["locale"] == "en"


async def test_guessing_the_current_password_in_an_open_session_is_stopped(context: Context) -> None:
    async with person(create_app(context), Role.MONITOR) as one:
        guess = {"password": "a long new password", "current_password": "guess"}
        codes = [(await one.client.patch("session/user", json=guess)).json()["code"] for _ in range(7)]
        assert codes == ["password.current_wrong"] * service.PAIR_LIMIT + ["login.too_many"]
        assert (await one.client.patch("session/user", json={"locale": "en"})).status_code == 200


async def test_residents_may_sign_in_and_see_nothing_of_others(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.RESIDENT) as resident:
        for path in ("users", "cameras", "agents", "alarms", "ledger", "incidents", "search/sightings", "clips"):
            answer = await resident.client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (403, "permission.missing")
