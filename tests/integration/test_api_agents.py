"""Enrolment, signed requests and revocation of agents, through the API."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import text

from hub.agents import enrolment, service
from hub.agents.model import CODE_ALPHABET
from hub.app import create_app
from hub.context import Context
from hub.identity.model import Role
from hub.kit.ids import new_id
from models.keys import SigningKey
from models.wire.downlink import DesiredState
from models.wire.uplink import Presence
from tests.people import Box, MovableClock, enrol_ask, enrolled, ledger_rows, on_clock, person, visitor

CREDENTIALS = "/api/v1/agent/credentials"


async def test_a_code_is_told_once_and_kept_as_a_hash(context: Context) -> None:
    async with person(create_app(context), Role.ADMIN) as admin:
        made = (await admin.client.post("enrolment-codes", json={"label": "村委会", "village": "纳姑村"})).json()
        listed = await admin.client.get("enrolment-codes")
    code = made["code"]
    assert len(code) == 8
    assert set(code) <= set(CODE_ALPHABET)
    assert made["enrol_text"] == f"qianshao://enrol?hub=http%3A%2F%2F127.0.0.1%3A8420&code={code}"
    assert made["command"] == f"qianshao-edge enroll --hub http://127.0.0.1:8420 --code {code}"
    assert made["qr_svg"].startswith("<svg")
    assert "<script" not in made["qr_svg"]
    assert code not in listed.text
    async with context.db.transaction() as tx:
        rows = (await tx.execute(text("select c::text from enrolment_codes c"))).scalars().all()
    assert not any(code in row for row in rows)
    assert code not in str(await ledger_rows(context))


async def test_a_machine_enrols_with_a_code_and_gets_its_credentials(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin, visitor(app) as box:
        code = (await admin.client.post("enrolment-codes", json={"label": "村委会"})).json()["code"]
        key = SigningKey.generate()
        typed = f" {code[:4].lower()}-{code[4:]} "
        answer = await box.post("enrolments", json=enrol_ask(typed, key).model_dump(mode="json"))
        assert answer.status_code == 201
        reply = answer.json()
        assert reply["name"] == "村委会"
        assert reply["hub_public_key"] == context.hub_key.public_hex
        assert reply["messaging"]["urls"] == context.nats_public_urls
        assert reply["messaging"]["user_jwt"].count(".") == 2
        view = (await admin.client.get(f"agents/{reply['agent_id']}")).json()
        assert (view["name"], view["hostname"], view["online"]) == ("村委会", "box", False)
        used = (await admin.client.get("enrolment-codes")).json()[0]
        assert (used["agent_id"], used["used_at"] is not None) == (reply["agent_id"], True)
    actions = [row["action"] for row in await ledger_rows(context)]
    assert actions[-2:] == ["agent.code_created", "agent.enrolled"]


async def test_of_two_machines_with_one_code_exactly_one_is_enrolled(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin, visitor(app) as box:
        code = (await admin.client.post("enrolment-codes", json={"label": "村委会"})).json()["code"]
        asks = [box.post("enrolments", json=enrol_ask(code).model_dump(mode="json")) for _ in range(5)]
        answers = await asyncio.gather(*asks)
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"enrolment.code_used"}
        assert len((await admin.client.get("agents")).json()) == 1


async def test_a_machine_that_lost_the_answer_is_answered_again(context: Context) -> None:
    clock = MovableClock()
    app = create_app(on_clock(context, clock))
    async with person(app, Role.ADMIN) as admin, visitor(app) as box:
        code = (await admin.client.post("enrolment-codes", json={"label": "村委会"})).json()["code"]
        ask = enrol_ask(code).model_dump(mode="json")
        first, second = await box.post("enrolments", json=ask), await box.post("enrolments", json=ask)
        assert first.json()["agent_id"] == second.json()["agent_id"]
        clock.move(minutes=10)
        assert (await box.post("enrolments", json=ask)).json()["code"] == "enrolment.code_used"


async def test_a_code_is_over_after_ten_minutes(context: Context) -> None:
    clock = MovableClock()
    app = create_app(on_clock(context, clock))
    async with person(app, Role.ADMIN) as admin, visitor(app) as box:
        code = (await admin.client.post("enrolment-codes", json={"label": "村委会"})).json()["code"]
        clock.move(minutes=10)
        answer = await box.post("enrolments", json=enrol_ask(code).model_dump(mode="json"))
    assert (answer.status_code, answer.json()["code"]) == (403, "enrolment.code_expired")


async def test_the_proof_must_be_of_the_key_and_the_code(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin, visitor(app) as box:
        code = (await admin.client.post("enrolment-codes", json={"label": "村委会"})).json()["code"]
        ask = enrol_ask(code).model_dump(mode="json")
        for forged in (
            {**ask, "public_key": SigningKey.generate().public_hex},
            {**ask, "proof": "0" * 128},
            {**enrol_ask("ABCDEFGH").model_dump(mode="json"), "code": code},
        ):
            answer = await box.post("enrolments", json=forged)
            assert (answer.status_code, answer.json()["code"]) == (422, "enrolment.proof_invalid")
        assert (await box.post("enrolments", json=ask)).status_code == 201


async def test_guessing_codes_is_stopped(context: Context) -> None:
    clock = MovableClock()
    app = create_app(on_clock(context, clock))
    async with person(app, Role.ADMIN) as admin, visitor(app) as thief, visitor(app, "10.0.0.77") as box:
        for _ in range(enrolment.ATTEMPT_LIMIT):
            answer = await thief.post("enrolments", json=enrol_ask("ABCD2345").model_dump(mode="json"))
            assert (answer.status_code, answer.json()["code"]) == (403, "enrolment.code_invalid")
        code = (await admin.client.post("enrolment-codes", json={"label": "村委会"})).json()["code"]
        right = enrol_ask(code).model_dump(mode="json")
        stopped = await thief.post("enrolments", json=right)
        assert (stopped.status_code, stopped.json()["code"]) == (429, "enrolment.too_many")
        assert stopped.json()["retry_after_s"] > 0
        assert (await box.post("enrolments", json=right)).status_code == 201


async def test_a_known_key_cannot_enrol_twice_and_does_not_use_the_code_up(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin, visitor(app) as box:
        known = await enrolled(context, admin.who)
        code = (await admin.client.post("enrolment-codes", json={"label": "second"})).json()["code"]
        answer = await box.post("enrolments", json=enrol_ask(code, known.key).model_dump(mode="json"))
        assert (answer.status_code, answer.json()["code"]) == (409, "enrolment.key_known")
        assert (await box.post("enrolments", json=enrol_ask(code).model_dump(mode="json"))).status_code == 201


# signed requests ----------------------------------------------------------------------------------------------


async def test_a_signed_request_is_good_once(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin, visitor(app) as client:
        box = await enrolled(context, admin.who)
        headers = box.authorization("POST", CREDENTIALS, b"", context.clock())
        first = await client.post("agent/credentials", headers=headers)
        assert first.status_code == 200
        replayed = await client.post("agent/credentials", headers=headers)
        assert (replayed.status_code, replayed.json()["code"]) == (401, "agent.token_replayed")


async def test_a_replay_is_refused_as_long_as_the_token_lives(context: Context) -> None:
    clock = MovableClock()
    app = create_app(on_clock(context, clock))
    async with person(app, Role.ADMIN) as admin, visitor(app) as client:
        box = await enrolled(on_clock(context, clock), admin.who)
        # Signed by a clock that is ahead: this token lives longest, 120 s from its first use.
        headers = box.authorization("POST", CREDENTIALS, b"", clock() + timedelta(seconds=60))
        assert (await client.post("agent/credentials", headers=headers)).status_code == 200
        for _ in range(12):
            clock.move(seconds=10)
            other = box.authorization("POST", CREDENTIALS, b"", clock())
            assert (await client.post("agent/credentials", headers=other)).status_code == 200
            again = await client.post("agent/credentials", headers=headers)
            assert again.json()["code"] in {"agent.token_replayed", "agent.token_expired"}


async def test_a_request_that_is_not_as_signed_is_refused(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin, visitor(app) as client:
        box = await enrolled(context, admin.who)
        now = context.clock()
        stranger = Box(box.id, SigningKey.generate())
        cases = {
            "agent.token_missing": [{}, {"Authorization": "Bearer x"}, {"Authorization": "QianshaoAgent nonsense"}],
            "agent.unknown": [Box(uuid4(), box.key).authorization("POST", CREDENTIALS, b"", now)],
            "agent.token_signature": [stranger.authorization("POST", CREDENTIALS, b"", now)],
            "agent.token_expired": [box.authorization("POST", CREDENTIALS, b"", now - timedelta(seconds=62))],
            "agent.token_other_request": [
                box.authorization("GET", CREDENTIALS, b"", now),
                box.authorization("POST", "/api/v1/agent/uploads", b"", now),
                box.authorization("POST", CREDENTIALS, b"{}", now),
            ],
        }
        for code, all_headers in cases.items():
            for headers in all_headers:
                answer = await client.post("agent/credentials", headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, code)


# life of an agent ---------------------------------------------------------------------------------------------


def presence(clock: MovableClock, **changes: object) -> Presence:
    base: dict[str, object] = {
        "id": new_id(),
        "at": clock(),
        "started_at": clock(),
        "version": "0.1.0",
        "desired_version": 1,
        "outbox_messages": 2,
        "outbox_files": 1,
        "disk_free_bytes": 10**12,
        "cameras": [],
    }
    return Presence.model_validate({**base, **changes})


async def test_an_agent_is_online_while_its_presence_is_fresh(context: Context) -> None:
    clock = MovableClock()
    on = on_clock(context, clock)
    async with person(create_app(on), Role.ADMIN) as admin:
        box = await enrolled(on, admin.who)

        async def online() -> bool:
            return bool((await admin.client.get(f"agents/{box.id}")).json()["online"])

        assert await online() is False
        async with context.db.transaction() as tx:
            assert await service.record_presence(tx, box.id, presence(clock), clock()) == clock()
        clock.move(seconds=35)
        assert await online() is True
        clock.move(seconds=1)
        assert await online() is False


async def test_an_old_presence_from_the_queue_brings_nobody_back(context: Context) -> None:
    clock = MovableClock()
    on = on_clock(context, clock)
    async with person(create_app(on), Role.ADMIN) as admin:
        box = await enrolled(on, admin.who)
        old, newer = presence(clock), presence(clock, outbox_files=9)
        clock.move(minutes=10)
        async with context.db.transaction() as tx:
            assert await service.record_presence(tx, box.id, old, clock()) == old.at
        view = (await admin.client.get(f"agents/{box.id}")).json()
        assert (view["online"], view["clock_skew_ms"]) == (False, -600_000)
        late = newer.model_copy(update={"at": old.at - timedelta(seconds=1)})
        async with context.db.transaction() as tx:
            assert await service.record_presence(tx, box.id, late, clock()) is None
        assert (await admin.client.get(f"agents/{box.id}")).json()["outbox_files"] == 1


async def test_a_revoked_agent_is_out_for_good(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin, visitor(app) as client:
        box = await enrolled(context, admin.who)
        assert (await admin.client.delete(f"agents/{box.id}")).status_code == 204
        again = await admin.client.delete(f"agents/{box.id}")
        assert (again.status_code, again.json()["code"]) == (409, "agent.revoked")
        headers = box.authorization("POST", CREDENTIALS, b"", context.clock())
        refused = await client.post("agent/credentials", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "agent.unknown")
        async with context.db.transaction() as tx:
            assert await service.agent_key(tx, box.id) is None
        assert (await admin.client.get(f"agents/{box.id}")).json()["revoked_at"] is not None
    assert (await ledger_rows(context))[-1]["action"] == "agent.revoked"


async def test_names_change_and_unknown_agents_are_not_found(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.ADMIN) as admin:
        box = await enrolled(context, admin.who)
        changed = await admin.client.patch(f"agents/{box.id}", json={"name": "小学", "village": ""})
        assert (changed.json()["name"], changed.json()["village"]) == ("小学", "")
        for method in ("GET", "PATCH", "DELETE"):
            answer = await admin.client.request(method, f"agents/{uuid4()}", json={})
            assert (answer.status_code, answer.json()["code"]) == (404, "agent.not_found")


async def test_telling_an_agent_that_is_not_connected_is_no_error(context: Context) -> None:
    # It asks when it comes back; the change itself stands.
    state = DesiredState(version=1, issued_at=context.clock(), cameras=[])
    await service.push_desired(context.bus, uuid4(), state)
