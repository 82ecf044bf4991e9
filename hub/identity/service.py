"""Sign-in, sessions and purposes."""

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from hub.db.engine import Connection
from hub.errors import Forbidden, Invalid, NotFound, TooMany
from hub.identity import repository
from hub.identity.ledgering import draft
from hub.identity.model import Permission, Principal, Purpose, PurposeKind, Session, User, may_set
from hub.ledger import service as ledger
from hub.ledger.model import Action, Draft

SESSION_LIFE = timedelta(hours=12)  # a shift
SESSION_IDLE = timedelta(hours=2)
_TOUCH_EVERY = timedelta(minutes=1)

ATTEMPT_WINDOW = timedelta(minutes=15)
# A name is guarded from one address tightly; from everywhere loosely, so that a stranger cannot lock somebody out soon.
PAIR_LIMIT = 6
NAME_LIMIT = 30
ADDRESS_LIMIT = 40


@dataclass(frozen=True)
class Attempt:
    """A sign-in that may go on to the password. `user` None: unknown or disabled; check a password all the same."""

    id: int
    username: str
    address: str
    user: User | None
    known: User | None  # also when disabled: the ledger names who was meant


def token_hash(cookie: str) -> bytes:
    """What is stored of a session's cookie."""
    return hashlib.sha256(cookie.encode()).digest()


async def session_of(tx: Connection, cookie: str, now: datetime) -> Session | None:
    """The session of a cookie, if it is good; notes that it was used."""
    if not cookie:
        return None
    found = await repository.session(tx, token_hash(cookie), now, now - SESSION_IDLE)
    if found is None:
        return None
    if now - found.seen_at > _TOUCH_EVERY:
        await repository.touch_session(tx, found.token_hash, now)
        found = replace(found, seen_at=now)
    return replace(found, expires_at=min(found.expires_at, found.seen_at + SESSION_IDLE))


async def principal_of(tx: Connection, cookie: str, now: datetime) -> Principal | None:
    """Who signs with this cookie; None for none, a wrong, an expired or an idle one."""
    found = await session_of(tx, cookie, now)
    return found.principal() if found else None


async def record_denial(
    tx: Connection, who: Principal, permission: Permission, code: str, path: str, now: datetime
) -> None:
    """A ledger row: footage was asked for and refused."""
    detail = {"permission": permission.value, "code": code, "path": path[:300]}
    await ledger.record(tx, draft(who, Action.DENIED, detail=detail), now)


# sign-in ------------------------------------------------------------------------------------------------------


async def begin_sign_in(tx: Connection, username: str, address: str, now: datetime) -> Attempt:
    """Counts the attempt before the password is looked at.

    Raises:
        TooMany: `login.too_many` with `retry_after_s`.
    """
    username = username.lower()
    await repository.lock_attempts(tx, username, address)
    found = await repository.failures(tx, username, address, now - ATTEMPT_WINDOW)
    for count, limit, oldest_at in (
        (found.pair, PAIR_LIMIT, found.pair_oldest_at),
        (found.name, NAME_LIMIT, found.name_oldest_at),
        (found.address, ADDRESS_LIMIT, found.address_oldest_at),
    ):
        if count >= limit and oldest_at is not None:
            wait_s = (oldest_at + ATTEMPT_WINDOW - now).total_seconds()
            raise TooMany("login.too_many", retry_after_s=max(1, int(wait_s) + 1))
    known = await repository.user_by_name(tx, username)
    attempt_id = await repository.add_attempt(tx, username, address, now)
    return Attempt(attempt_id, username, address, known if known and known.disabled_at is None else None, known)


async def refuse_sign_in(tx: Connection, attempt: Attempt, now: datetime) -> None:
    """A ledger row of the refusal."""
    known = attempt.known
    await ledger.record(
        tx,
        Draft(
            action=Action.SIGN_IN_REFUSED,
            actor_id=known.id if known else None,
            actor_name=attempt.username,
            actor_role=known.role.value if known else "unknown",
            detail={"address": attempt.address},
        ),
        now,
    )


async def attempt_was_right(tx: Connection, attempt: Attempt) -> None:
    """The password was the right one: the attempt no longer counts."""
    await repository.attempt_succeeded(tx, attempt.id, attempt.username, attempt.address)


async def finish_sign_in(tx: Connection, attempt: Attempt, user: User, now: datetime) -> tuple[str, Session]:
    """Opens a session after the right password: (cookie, session)."""
    await attempt_was_right(tx, attempt)
    cookie = secrets.token_urlsafe(32)
    await repository.add_session(
        tx,
        token_hash=token_hash(cookie),
        user_id=user.id,
        csrf_token=secrets.token_urlsafe(24),
        now=now,
        expires_at=now + SESSION_LIFE,
    )
    session = await session_of(tx, cookie, now)
    assert session is not None, "just added"
    detail = {"address": attempt.address}
    await ledger.record(tx, draft(session.principal(), Action.SIGNED_IN, detail=detail), now)
    return cookie, session


async def drop_ended_sessions(tx: Connection, now: datetime) -> None:
    """Forgets sessions that are over and sign-in attempts nobody counts any more; the worker runs it now and then."""
    await repository.drop_ended(tx, now, now - SESSION_IDLE, now - 2 * ATTEMPT_WINDOW)


async def sign_out(tx: Connection, cookie: str) -> None:
    """Ends the session of the cookie."""
    await repository.end_session(tx, token_hash(cookie))


# purpose ------------------------------------------------------------------------------------------------------


async def set_purpose(
    tx: Connection,
    who: Principal,
    cookie: str,
    *,
    kind: PurposeKind,
    incident_id: UUID | None,
    note: str,
    now: datetime,
) -> None:
    """Says what the session looks at footage for, from now on; a ledger row.

    Raises:
        Forbidden: `purpose.not_allowed`: a test, by somebody who does not commission cameras.
        Invalid: `purpose.incident_missing`, `purpose.incident_not_meant`, `purpose.note_needed`.
        NotFound: `incident.not_found`. Invalid: `purpose.incident_closed`.
    """
    if not may_set(who.role, kind):
        raise Forbidden("purpose.not_allowed")
    if kind is PurposeKind.INCIDENT:
        await _check_incident(tx, incident_id)
    elif incident_id is not None:
        raise Invalid("purpose.incident_not_meant", "only the kind 'incident' names one")
    elif not note:
        raise Invalid("purpose.note_needed", "say in words what this is for")
    purpose = Purpose(kind, incident_id, note, now)
    await repository.save_purpose(tx, token_hash(cookie), purpose)
    await ledger.record(tx, draft(replace(who, purpose=purpose), Action.PURPOSE_SET), now)


async def _check_incident(tx: Connection, incident_id: UUID | None) -> None:
    if incident_id is None:
        raise Invalid("purpose.incident_missing")
    status = await repository.incident_status(tx, incident_id)
    if status is None:
        raise NotFound("incident.not_found")
    if status != "open":
        raise Invalid("purpose.incident_closed")


async def clear_purpose(tx: Connection, who: Principal, cookie: str, now: datetime) -> None:
    """Ends the purpose: no footage until another is set. A ledger row when there was one."""
    await repository.save_purpose(tx, token_hash(cookie), None)
    if who.purpose is not None:
        await ledger.record(tx, draft(replace(who, purpose=None), Action.PURPOSE_SET, detail={"cleared": True}), now)
