"""The gate decides at the edge, before and without the network."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio

from edge_agent.consent.gate import ConsentGate, longest_free
from edge_agent.spool import outbox, wishes
from edge_agent.spool.store import Spool
from edge_agent.spool.wishes import Refusal
from models.vocabulary import GapReason
from models.wire.downlink import Consent
from models.wire.uplink import GapSeen
from tests.edge_samples import AT, CAMERA, OTHER_CAMERA, consent, desired

SECOND = timedelta(seconds=1)


class Now:
    """A clock a test can move."""

    def __init__(self) -> None:
        self.at = AT

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def now() -> Now:
    return Now()


@pytest_asyncio.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = Spool(tmp_path)
    yield opened
    opened.close()


async def gate_with(
    spool: Spool, now: Now, version: int, wish: Consent, gate: ConsentGate | None = None
) -> ConsentGate:
    await spool.run(wishes.take_desired, desired(version, (CAMERA, wish)))
    gate = gate or ConsentGate(spool, now)
    await gate.load()
    return gate


async def test_before_the_hub_has_said_anything_nothing_is_allowed(spool: Spool, now: Now) -> None:
    gate = ConsentGate(spool, now)
    await gate.load()
    assert gate.refuse(CAMERA, "clips") == "consent.missing"
    assert gate.refuse(CAMERA, "live") == "consent.missing"
    assert gate.open_cameras() == frozenset()


async def test_the_consent_stands_after_a_restart_without_network(spool: Spool, now: Now) -> None:
    await gate_with(spool, now, 1, consent(share_live=False))
    again = ConsentGate(spool, now)
    await again.load()
    assert again.refuse(CAMERA, "clips") == ""
    assert again.refuse(CAMERA, "live") == "consent.live_not_shared"


async def test_a_pause_at_the_box_overrules_the_hub_at_once(spool: Spool, now: Now) -> None:
    gate = await gate_with(spool, now, 1, consent())
    await spool.run(wishes.pause, CAMERA)
    now.at = datetime.now(now.at.tzinfo) + SECOND
    await gate.load()
    assert gate.refuse(CAMERA, "clips") == "consent.paused"
    assert gate.refuse(CAMERA, "live") == "consent.paused"
    assert CAMERA in gate.closed_cameras()
    await gate_with(spool, now, 2, consent(version=2), gate)
    assert gate.refuse(CAMERA, "clips") == "consent.paused", "a new state from the hub does not lift it"


async def test_a_pause_with_an_end_ends_by_itself(spool: Spool, now: Now) -> None:
    gate = await gate_with(spool, now, 1, consent(paused=True, paused_until=AT + 60 * SECOND))
    assert gate.holds(CAMERA)
    now.at += 60 * SECOND
    await gate.settle()
    assert not gate.holds(CAMERA)
    assert CAMERA in gate.open_cameras()


async def test_listeners_hear_of_a_change_once(spool: Spool, now: Now) -> None:
    gate = await gate_with(spool, now, 1, consent())
    heard: list[UUID] = []
    gate.on_change(heard.append)
    await gate.settle()
    assert heard == []
    await gate_with(spool, now, 2, consent(version=2, paused=True), gate)
    await gate.settle()
    assert heard == [CAMERA]


async def test_a_camera_taken_out_of_the_desired_state_is_closed(spool: Spool, now: Now) -> None:
    gate = await gate_with(spool, now, 1, consent())
    heard: list[UUID] = []
    gate.on_change(heard.append)
    await spool.run(wishes.take_desired, desired(2))
    await gate.load()
    assert heard == [CAMERA]
    assert gate.refuse(CAMERA, "clips") == "consent.missing"


@pytest.mark.parametrize(
    ("wish", "reason"),
    [(consent(version=2, paused=True), GapReason.PAUSED), (consent(version=2, share_clips=False), GapReason.CONSENT)],
)
async def test_a_refusal_that_ended_becomes_a_gap_with_its_reason(
    spool: Spool, now: Now, wish: Consent, reason: GapReason
) -> None:
    gate = await gate_with(spool, now, 1, consent())
    now.at += SECOND
    await gate_with(spool, now, 2, wish, gate)
    now.at += 10 * SECOND
    await gate_with(spool, now, 3, consent(version=3), gate)
    (message,) = await spool.run(outbox.next_batch, {CAMERA}, set())
    gap = GapSeen.model_validate_json(message.body).gap
    assert (gap.start_at, gap.end_at, gap.reason) == (AT + SECOND, AT + 11 * SECOND, reason)


async def test_a_pause_across_a_restart_is_one_gap(spool: Spool, now: Now) -> None:
    await gate_with(spool, now, 1, consent(paused=True))
    now.at += 10 * SECOND
    again = ConsentGate(spool, now)
    await again.load()
    now.at += 10 * SECOND
    await gate_with(spool, now, 2, consent(version=2), again)
    (message,) = await spool.run(outbox.next_batch, {CAMERA}, set())
    gap = GapSeen.model_validate_json(message.body).gap
    assert (gap.start_at, gap.end_at) == (AT, AT + 20 * SECOND)


async def test_a_cut_never_reaches_into_a_pause_not_even_with_its_roll(spool: Spool, now: Now) -> None:
    gate = await gate_with(spool, now, 1, consent(paused=True))
    now.at = AT + 10 * SECOND
    await gate_with(spool, now, 2, consent(version=2), gate)
    span = await gate.allowed_span(CAMERA, AT + 8 * SECOND, AT + 20 * SECOND)
    assert span == (AT + 10 * SECOND, AT + 20 * SECOND)
    assert await gate.allowed_span(CAMERA, AT, AT + 9 * SECOND) is None


async def test_a_sighting_is_told_only_if_it_lies_wholly_in_consented_time(spool: Spool, now: Now) -> None:
    gate = await gate_with(spool, now, 1, consent())
    now.at = AT + 10 * SECOND
    await gate_with(spool, now, 2, consent(version=2, paused=True), gate)
    assert gate.refuse_sighting(CAMERA, AT, AT + 10 * SECOND) == "", "it ended before the pause: told, but held"
    assert gate.refuse_sighting(CAMERA, AT, AT + 11 * SECOND) == "consent.paused"
    now.at = AT + 20 * SECOND
    await gate_with(spool, now, 3, consent(version=3), gate)
    assert gate.refuse_sighting(CAMERA, AT + 15 * SECOND, AT + 21 * SECOND) == "consent.paused"
    assert gate.refuse_sighting(CAMERA, AT + 20 * SECOND, AT + 21 * SECOND) == ""


async def test_hours_bound_recording_for_sharing_but_do_not_hold_what_was_consented(spool: Spool, now: Now) -> None:
    """06:00 UTC is 14:00 in Guizhou, a Sunday."""
    morning = consent(hours=[{"days": [7], "start": "08:00", "end": "12:00"}])
    gate = await gate_with(spool, now, 1, morning)
    assert gate.refuse(CAMERA, "clips") == "consent.out_of_hours"
    assert not gate.holds(CAMERA)


async def test_out_of_hours_does_not_open_what_is_not_shared_at_all(spool: Spool, now: Now) -> None:
    wish = consent(share_clips=False, hours=[{"days": [7], "start": "08:00", "end": "12:00"}])
    gate = await gate_with(spool, now, 1, wish)
    assert gate.holds(CAMERA)


async def test_a_candidate_may_be_offered_unless_it_is_paused_at_the_box(spool: Spool, now: Now) -> None:
    gate = await gate_with(spool, now, 1, consent())
    assert OTHER_CAMERA not in gate.closed_cameras()
    await spool.run(wishes.pause, OTHER_CAMERA)
    now.at = datetime.now(now.at.tzinfo) + SECOND
    await gate.load()
    assert OTHER_CAMERA in gate.closed_cameras()


def test_the_longest_free_part_is_taken() -> None:
    refused = [
        Refusal(CAMERA, "consent.paused", AT + 2 * SECOND, AT + 3 * SECOND),
        Refusal(CAMERA, "consent.paused", AT + 8 * SECOND, None),
    ]
    assert longest_free(AT, AT + 10 * SECOND, refused) == (AT + 3 * SECOND, AT + 8 * SECOND)
    assert longest_free(AT + 9 * SECOND, AT + 10 * SECOND, refused) is None
    assert longest_free(AT, AT + SECOND, []) == (AT, AT + SECOND)
