"""How a ledger row is hashed, and what it may hold."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.ledger.model import Action, Entry, entry_hash, microseconds, storable

ENTRY = Entry(
    seq=7,
    at=datetime(2026, 11, 20, 4, 0, 0, 123456, tzinfo=UTC),
    actor_id=UUID(int=1),
    actor_name="li.si",
    actor_role="investigator",
    action=Action.SEARCHED.value,
    purpose_kind="incident",
    purpose_incident_id=UUID(int=2),
    purpose_note="",
    camera_ids=[UUID(int=3), UUID(int=4)],
    subject_kind="clip",
    subject_id=UUID(int=5),
    detail={"q": "白色 货车"},
    prev_hash="0" * 64,
    entry_hash="",
)

CHANGED: dict[str, Any] = {
    "seq": 8,
    "at": ENTRY.at + timedelta(microseconds=1),
    "actor_id": None,
    "actor_name": "li.s",
    "actor_role": "monitor",
    "action": "footage.clip_played",
    "purpose_kind": None,
    "purpose_incident_id": UUID(int=9),
    "purpose_note": " ",
    "camera_ids": [UUID(int=4), UUID(int=3)],
    "subject_kind": None,
    "subject_id": UUID(int=6),
    "detail": {},
    "prev_hash": "1" * 64,
}


def test_the_hash_is_fixed_for_good() -> None:
    # A ledger written today must verify in ten years: this value never changes.
    assert entry_hash(ENTRY) == "fece235d0af3e1063d4c4b8fd51ab01867daa5cfb16172487c06fec922a751a5"


@pytest.mark.parametrize("name", [field.name for field in fields(Entry) if field.name != "entry_hash"])
def test_every_column_is_under_the_hash(name: str) -> None:
    assert entry_hash(replace(ENTRY, **{name: CHANGED[name]})) != entry_hash(ENTRY)


def test_the_hash_does_not_depend_on_the_zone_a_time_is_told_in() -> None:
    told = replace(ENTRY, at=ENTRY.at.astimezone(timezone(timedelta(hours=8))))
    assert entry_hash(told) == entry_hash(ENTRY)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001 - hypothesis adds the zone
def test_microseconds_lose_nothing(at: datetime) -> None:
    assert datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds(at)) == at


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.uuids(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=5))
def test_what_is_storable_survives_a_journey_through_json(detail: dict[str, Any]) -> None:
    plain = storable(detail)
    assert json.loads(json.dumps(plain)) == plain
    assert "\\u0000" not in json.dumps(plain)
    assert storable(plain) == plain


def test_what_has_no_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="not storable"):
        storable({"body": b"bytes"})
