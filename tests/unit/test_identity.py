"""Roles, passwords and principals: rules that need no server."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from hub.identity import passwords
from hub.identity.guard import WITHOUT_SESSION
from hub.identity.ledgering import draft
from hub.identity.model import FOOTAGE, GRANTED, OPENS, Permission, Principal, Purpose, PurposeKind, Role, may_set
from hub.ledger.model import Action


def test_every_permission_is_somebodys_and_no_role_holds_an_open_one() -> None:
    assert set().union(*GRANTED.values()) == set(Permission) - WITHOUT_SESSION


def test_residents_and_auditors_open_no_footage() -> None:
    assert GRANTED[Role.RESIDENT] == {Permission.SIGNED_IN}
    assert not GRANTED[Role.AUDITOR] & FOOTAGE


def test_administrators_neither_search_nor_play_nor_watch() -> None:
    assert GRANTED[Role.ADMIN] & FOOTAGE == {Permission.SNAPSHOT}


def test_those_who_look_do_not_decide_on_consent_or_accounts() -> None:
    for role in (Role.MONITOR, Role.INVESTIGATOR, Role.SUPERVISOR):
        assert not GRANTED[role] & {Permission.CONSENT_EDIT, Permission.CAMERA_EDIT, Permission.USER_EDIT}


def test_stored_footage_needs_an_incident_or_a_recorded_test() -> None:
    assert OPENS.keys() == set(PurposeKind)
    assert OPENS[PurposeKind.INCIDENT] == FOOTAGE
    assert OPENS[PurposeKind.DUTY] == {Permission.LIVE, Permission.SNAPSHOT}
    assert [role for role in Role if may_set(role, PurposeKind.TEST)] == [Role.SUPERVISOR, Role.ADMIN]


def test_generated_passwords_are_long_different_and_can_be_read_aloud() -> None:
    made = {passwords.generated() for _ in range(200)}
    assert len(made) == 200
    for password in made:
        assert len(password) == 23
        assert not set(password) & set("iloILO01")


async def test_a_password_fits_its_own_hash_only() -> None:
    kept = await passwords.hashed("correct horse")
    assert kept.startswith("$argon2id$")
    assert await passwords.fits(kept, "correct horse")
    assert not await passwords.fits(kept, "correct horse ")
    assert not await passwords.fits(None, "correct horse")


@pytest.mark.parametrize("kept", ["", "x", "$argon2id$", "$2b$12$aaaaaaaaaaaaaaaaaaaaaa", "\x00"])
async def test_a_damaged_hash_fits_nothing(kept: str) -> None:
    assert not await passwords.fits(kept, "")


def test_a_draft_carries_who_and_why() -> None:
    at, incident = datetime(2026, 11, 20, tzinfo=UTC), uuid4()
    purpose = Purpose(PurposeKind.INCIDENT, incident, "", at)
    who = Principal(uuid4(), "li.si", "李四", Role.INVESTIGATOR, "", purpose)
    made = draft(who, Action.SEARCHED, camera_ids=(uuid4(),))
    assert (made.actor_id, made.actor_name, made.actor_role) == (who.user_id, "li.si", "investigator")
    assert (made.purpose_kind, made.purpose_incident_id) == ("incident", incident)
