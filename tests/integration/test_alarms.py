"""Alarms: one per thing until somebody has acknowledged it."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from hub.alarms import service
from hub.app import create_app
from hub.context import Context
from hub.identity.model import Role
from tests.people import ledger_rows, person


async def _raise(context: Context, **kw: Any) -> UUID:
    base: dict[str, Any] = {"code": "ingest.hash_mismatch", "severity": "critical", "now": context.clock()}
    async with context.db.transaction() as tx:
        return await service.raise_alarm(tx, **{**base, **kw})


async def test_the_same_thing_is_raised_once_while_open(context: Context) -> None:
    clip, camera = uuid4(), uuid4()
    first = await _raise(context, subject_id=clip, camera_id=camera)
    assert await _raise(context, subject_id=clip, camera_id=camera) == first
    assert await _raise(context, subject_id=uuid4(), camera_id=camera) != first
    assert await _raise(context, code="ingest.seal_invalid", subject_id=clip, camera_id=camera) != first
    about_nothing = await _raise(context)
    assert await _raise(context) == about_nothing
    raised = [row for row in await ledger_rows(context) if row["action"] == "alarm.raised"]
    assert len(raised) == 4


async def test_two_workers_raise_one_alarm(context: Context) -> None:
    subject = uuid4()
    ids = await asyncio.gather(*(_raise(context, subject_id=subject) for _ in range(4)))
    assert len(set(ids)) == 1


async def test_an_acknowledged_thing_may_be_raised_again(context: Context) -> None:
    app = create_app(context)
    subject = uuid4()
    first = await _raise(context, subject_id=subject)
    async with person(app, Role.MONITOR) as monitor, person(app, Role.SUPERVISOR) as second:
        taken = await monitor.client.post(f"alarms/{first}/acknowledgement")
        assert taken.json()["acknowledged_by"] == str(monitor.who.user_id)
        again = await second.client.post(f"alarms/{first}/acknowledgement")
        assert again.json()["acknowledged_by"] == str(monitor.who.user_id)
        noted = [row for row in await ledger_rows(context) if row["action"] == "alarm.acknowledged"]
        assert [row["actor_name"] for row in noted] == [monitor.username]
        assert await _raise(context, subject_id=subject) != first
        page = (await monitor.client.get("alarms")).json()
        assert (len(page["items"]), page["open_count"]) == (2, 1)
        only_open = (await monitor.client.get("alarms", params={"open_only": True})).json()
        assert [item["acknowledged_at"] for item in only_open["items"]] == [None]
        missing = await monitor.client.post(f"alarms/{uuid4()}/acknowledgement")
        assert (missing.status_code, missing.json()["code"]) == (404, "alarm.not_found")


async def test_an_auditor_sees_alarms_and_cannot_acknowledge(context: Context) -> None:
    app = create_app(context)
    alarm = await _raise(context)
    async with person(app, Role.AUDITOR) as auditor:
        assert (await auditor.client.get("alarms")).json()["open_count"] == 1
        assert (await auditor.client.post(f"alarms/{alarm}/acknowledgement")).status_code == 403


async def test_an_odd_detail_is_kept_in_a_storable_form(context: Context) -> None:
    await _raise(context, detail="a\x00b" + "x" * 10_000)
    async with context.db.transaction() as tx:
        (alarm,), _ = await service.page(tx, open_only=True, limit=10)
    assert "\x00" not in alarm.detail
    assert len(alarm.detail) == 2000
