"""What claims to come from the hub is believed only when it is in order."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from edge_agent.errors import AgentError
from edge_agent.uplink.downlink import BODY_MAX_BYTES, Refused, read_command, read_pushed
from edge_agent.upload.transfer import check_plan
from models.wire.agent_http import UploadPart, UploadPlan
from models.wire.downlink import LiveStop
from tests.edge_samples import CAMERA, consent, desired

GOOD = desired(3, (CAMERA, consent())).model_dump(mode="json")


def with_(**changed: object) -> bytes:
    return json.dumps(GOOD | changed).encode()


HOSTILE_STATES = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b"\x00" * 64,
    b'{"type":"desired"',
    b"[" * 20_000,
    b'{"type":"desired","version":1e400,"issued_at":"2026-11-22T06:00:00Z","cameras":[]}',
    with_(version=0),
    with_(version=-1),
    with_(version="3; drop table desired"),
    with_(version=None),
    with_(issued_at="yesterday"),
    with_(issued_at="2026-11-22T06:00:00"),
    with_(type="receipts"),
    with_(type="sighting"),
    with_(surprise=1),
    with_(cameras=None),
    with_(cameras=[{}]),
    with_(cameras=GOOD["cameras"] * 2),
    with_(cameras=GOOD["cameras"] * 300),
    with_(cameras=[GOOD["cameras"][0] | {"camera_id": "../../etc/passwd"}]),
    with_(cameras=[GOOD["cameras"][0] | {"consent": {}}]),
    with_(cameras=[GOOD["cameras"][0] | {"consent": {**GOOD["cameras"][0]["consent"], "share_live": "maybe"}}]),
    with_(cameras=[GOOD["cameras"][0] | {"recording": {"max_bytes": 0}}]),
    with_(cameras=[GOOD["cameras"][0] | {"analytics": {"max_fps": 1000}}]),
    b" " * (BODY_MAX_BYTES + 1),
]


@pytest.mark.parametrize("raw", HOSTILE_STATES, ids=range(len(HOSTILE_STATES)))
def test_a_state_that_is_not_in_order_is_counted_and_changes_nothing(raw: bytes) -> None:
    refused = Refused()
    assert read_pushed(raw, "desired", refused) is None
    assert refused.by_kind == {"desired": 1}


def test_a_state_in_order_is_read() -> None:
    assert read_pushed(with_(), "desired", Refused()) == desired(3, (CAMERA, consent()))


RECEIPT = {"clip_id": str(UUID(int=1)), "status": "verified", "at": "2026-11-22T06:00:00Z"}
HOSTILE_RECEIPTS = [
    {"type": "receipts"},
    {"type": "receipts", "receipts": [RECEIPT] * 501},
    {"type": "receipts", "receipts": [RECEIPT | {"status": "destroyed"}]},
    {"type": "receipts", "receipts": [RECEIPT | {"code": "rm -rf"}]},
    {"type": "receipts", "receipts": [RECEIPT | {"clip_id": "*"}]},
    {"type": "receipts", "receipts": [RECEIPT | {"file": "/etc/passwd"}]},
    {"type": "desired", "receipts": [RECEIPT]},
]


@pytest.mark.parametrize("body", HOSTILE_RECEIPTS, ids=range(len(HOSTILE_RECEIPTS)))
def test_receipts_that_are_not_in_order_delete_nothing(body: dict[str, object]) -> None:
    refused = Refused()
    assert read_pushed(json.dumps(body).encode(), "receipts", refused) is None
    assert refused.by_kind == {"receipts": 1}


def test_receipts_on_the_subject_of_states_are_refused() -> None:
    raw = json.dumps({"type": "receipts", "receipts": [RECEIPT]}).encode()
    assert read_pushed(raw, "desired", Refused()) is None


HOSTILE_COMMANDS = [
    b"",
    b"live_start",
    b'{"command":"reboot"}',
    b'{"command":"live_stop"}',
    b'{"command":"live_stop","session_id":"*"}',
    b'{"command":"live_stop","session_id":"00000000-0000-0000-0000-000000000001","shell":"x"}',
    b'{"command":"live_start","session_id":"00000000-0000-0000-0000-000000000001"}',
    b'{"command":["live_stop"]}',
    b"{" * 50_000,
]


@pytest.mark.parametrize("raw", HOSTILE_COMMANDS, ids=range(len(HOSTILE_COMMANDS)))
def test_a_command_that_is_not_in_order_is_refused(raw: bytes) -> None:
    refused = Refused()
    assert read_command(raw, refused) is None
    assert refused.by_kind == {"command": 1}


def test_a_command_in_order_is_read() -> None:
    wanted = LiveStop(session_id=UUID(int=1))
    assert read_command(wanted.model_dump_json().encode(), Refused()) == wanted


def plan(*parts: tuple[int, int, int], upload_id: str = "u", url: str = "http://s3/x") -> UploadPlan:
    return UploadPlan(
        upload_id=upload_id,
        expires_at=datetime.now(UTC),
        parts=[UploadPart(number=n, offset=o, size_bytes=s, url=url) for n, o, s in parts],
    )


@pytest.mark.parametrize(
    "bad",
    [
        plan(),
        plan((1, 0, 5)),
        plan((1, 0, 11)),
        plan((1, 0, 5), (3, 5, 5)),
        plan((1, 0, 5), (2, 4, 6)),
        plan((1, 5, 5), (2, 0, 5)),
        plan((1, 0, 10), (2, 10, 2**40)),
        plan((1, 0, 10), upload_id=""),
        plan((1, 0, 10), url="file:///etc/passwd"),
        plan((1, 0, 10), url=""),
    ],
    ids=range(10),
)
def test_a_plan_that_does_not_cover_the_file_exactly_is_refused(bad: UploadPlan) -> None:
    with pytest.raises(AgentError, match=r"upload\.plan_invalid"):
        check_plan(bad, 10)


def test_a_plan_that_covers_the_file_is_taken() -> None:
    check_plan(plan((1, 0, 5), (2, 5, 5)), 10)
