"""The ledger: gapless under concurrency, append-only, and every kind of tampering is found at its row."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from hub.app import create_app
from hub.context import Context
from hub.identity.model import Role
from hub.ledger import service
from hub.ledger.model import Action, Verdict, by_system
from tests.people import person
from tests.seeding import seed_village

NOW = datetime(2026, 11, 20, 4, 0, 0, 123456, tzinfo=UTC)
CAMERA = UUID("019a0000-0000-7000-8000-000000000001")

_TRIGGERS = ("ledger_no_change", "ledger_no_truncate")


async def _record(context: Context, n: int = 1, **kw: Any) -> list[int]:
    seqs = []
    for _ in range(n):
        async with context.db.transaction() as tx:
            seqs.append(await service.record(tx, by_system(Action.SEARCHED, camera_ids=(CAMERA,), **kw), NOW))
    return seqs


async def _verify(context: Context) -> Verdict:
    async with context.db.transaction() as tx:
        return await service.verify(tx)


async def _tamper(context: Context, statement: str) -> None:
    """What somebody with the database's owner rights can do: switch the triggers off first."""
    async with context.db.transaction() as tx:
        await tx.execute(text("alter table ledger disable trigger user"))
        await tx.execute(text("alter table ledger_head disable trigger user"))
        await tx.execute(text(statement))
        await tx.execute(text("alter table ledger enable trigger user"))
        await tx.execute(text("alter table ledger_head enable trigger user"))


async def test_an_empty_ledger_verifies(context: Context) -> None:
    assert await _verify(context) == Verdict(True, 0, "0" * 64)


async def test_entries_are_numbered_from_one_and_verify(context: Context) -> None:
    detail = {"score": 0.1, "huge": 1e300, "at": NOW, "who": CAMERA, "text": "晒场 \x00 🐄", "list": [1, None, True]}
    assert await _record(context, 3, detail=detail) == [1, 2, 3]
    verdict = await _verify(context)
    assert (verdict.ok, verdict.entries) == (True, 3)


async def test_concurrent_writers_leave_no_gap(context: Context) -> None:
    seqs = [seq for part in await asyncio.gather(*(_record(context, 5) for _ in range(6))) for seq in part]
    assert sorted(seqs) == list(range(1, 31))
    assert (await _verify(context)).ok


async def test_an_act_that_is_rolled_back_leaves_no_entry_and_no_gap(context: Context) -> None:
    await _record(context)

    async def failing_act() -> None:
        async with context.db.transaction() as tx:
            await service.record(tx, by_system(Action.SEARCHED), NOW)
            raise RuntimeError("the act failed")

    with pytest.raises(RuntimeError):
        await failing_act()
    assert await _record(context) == [2]
    assert (await _verify(context)).entries == 2


@pytest.mark.parametrize(
    "statement",
    [
        "update ledger set actor_name = 'nobody' where seq = 1",
        "delete from ledger where seq = 2",
        "truncate ledger",
        "delete from ledger_head",
        "truncate ledger_head",
        "update ledger_head set seq = 1",
        "update ledger_head set entry_hash = 'x'",
        "update ledger_head set seq = seq + 2",
    ],
)
async def test_the_database_refuses_to_change_the_ledger(context: Context, statement: str) -> None:
    await _record(context, 2)
    with pytest.raises(SQLAlchemyError, match=r"append-only|only rises"):
        async with context.db.transaction() as tx:
            await tx.execute(text(statement))
    assert (await _verify(context)).ok


@pytest.mark.parametrize(
    ("statement", "broken_at", "reason"),
    [
        ("update ledger set actor_name = 'nobody' where seq = 2", 2, "content_differs"),
        ("update ledger set at = at + interval '1 microsecond' where seq = 3", 3, "content_differs"),
        ("update ledger set camera_ids = '{}' where seq = 1", 1, "content_differs"),
        ("update ledger set detail = '{\"x\": 1}' where seq = 5", 5, "content_differs"),
        ("update ledger set purpose_note = 'x', entry_hash = repeat('a', 64) where seq = 2", 2, "content_differs"),
        ("delete from ledger where seq = 3", 3, "missing"),
        ("delete from ledger where seq = 1", 1, "missing"),
        ("delete from ledger where seq >= 4", 4, "missing"),
        ("delete from ledger", 1, "missing"),
        ("update ledger set seq = case seq when 2 then 3 else 2 end where seq in (2, 3)", 2, "chain_differs"),
        ("update ledger set prev_hash = repeat('0', 64) where seq = 4", 4, "chain_differs"),
        ("update ledger_head set entry_hash = repeat('0', 64)", 5, "head_differs"),
        ("insert into ledger select 6, at, actor_id, actor_name, actor_role, action, purpose_kind, purpose_incident_id, "
         "purpose_note, camera_ids, subject_kind, subject_id, detail, prev_hash, entry_hash from ledger where seq = 5",
         6, "chain_differs"),
    ],
)  # fmt: skip
async def test_tampering_is_found_at_its_row(context: Context, statement: str, broken_at: int, reason: str) -> None:
    await _record(context, 5)
    if "seq = case" in statement:  # a swap has to pass over the primary key
        await _tamper(context, "update ledger set seq = seq + 100 where seq in (2, 3)")
        statement = "update ledger set seq = case seq when 102 then 3 else 2 end where seq in (102, 103)"
    await _tamper(context, statement)
    verdict = await _verify(context)
    assert (verdict.ok, verdict.broken_at_seq, verdict.reason) == (False, broken_at, reason)


async def test_the_api_pages_filters_and_verifies(context: Context) -> None:
    app = create_app(context)
    async with person(app, Role.AUDITOR) as auditor:
        async with context.db.transaction() as tx:
            before = (await service.page(tx))[0][0].seq
        await _record(context, 5)
        await _record(context, 1, subject_kind="x", subject_id=uuid4())
        first = (await auditor.client.get("ledger", params={"limit": 4})).json()
        assert [item["seq"] for item in first["items"]] == [before + n for n in (6, 5, 4, 3)]
        rest = await auditor.client.get("ledger", params={"before_seq": first["next_before_seq"], "limit": 100})
        assert [item["seq"] for item in rest.json()["items"]] == list(range(before + 2, 0, -1))
        assert rest.json()["next_before_seq"] is None
        by_camera = (await auditor.client.get("ledger", params={"camera_id": str(CAMERA)})).json()
        assert len(by_camera["items"]) == 6
        by_action = (await auditor.client.get("ledger", params={"action": "user.created"})).json()
        assert [item["actor_name"] for item in by_action["items"]] == ["system"]
        by_actor = (await auditor.client.get("ledger", params={"actor_id": str(auditor.who.user_id)})).json()
        assert by_actor["items"] == []
        assert (await auditor.client.get("ledger/verification")).json()["ok"] is True
        await _tamper(context, f"update ledger set actor_name = 'x' where seq = {before + 1}")
        broken = (await auditor.client.get("ledger/verification")).json()
        assert (broken["ok"], broken["broken_at_seq"]) == (False, before + 1)


async def test_an_auditor_reads_the_names_of_cameras_without_a_right_to_them(context: Context) -> None:
    village = await seed_village(context, 2)
    first, second = village.cameras
    async with context.db.transaction() as tx:
        await service.record(tx, by_system(Action.SEARCHED, camera_ids=(second, CAMERA, first)), NOW)
    async with person(create_app(context), Role.AUDITOR) as auditor:
        assert (await auditor.client.get("cameras")).status_code == 403
        page = (await auditor.client.get("ledger", params={"action": "footage.searched"})).json()
        (row,) = page["items"]
        assert row["camera_ids"] == [str(second), str(CAMERA), str(first)]
        assert row["camera_names"] == ["晒场", "", "村口"]
        assert (await auditor.client.get("ledger/verification")).json()["ok"] is True


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 1000}, {"before_seq": 2**63}, {"camera_id": "x"}, {"action": "footage.%"}]
)
async def test_the_api_refuses_odd_queries(context: Context, params: dict[str, Any]) -> None:
    async with person(create_app(context), Role.AUDITOR) as auditor:
        answer = await auditor.client.get("ledger", params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, "request.invalid")
