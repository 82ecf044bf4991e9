"""SQL of accounts, sessions and sign-in attempts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text

from hub.db.engine import Connection
from hub.identity.model import Purpose, PurposeKind, Role, Session, User

_USER = "id, username, display_name, role, password_hash, locale, created_at, disabled_at"


def _user(row: RowMapping | dict[str, Any]) -> User:
    return User(**{**row, "role": Role(row["role"])})


# accounts -----------------------------------------------------------------------------------------------------


async def user_by_name(tx: Connection, username: str) -> User | None:
    """The account of that name."""
    found = await tx.execute(text(f"select {_USER} from users where username = :username"), {"username": username})
    row = found.mappings().one_or_none()
    return _user(row) if row else None


async def user_by_id(tx: Connection, user_id: UUID) -> User | None:
    """The account of that id, locked until the transaction ends."""
    found = await tx.execute(text(f"select {_USER} from users where id = :id for update"), {"id": user_id})
    row = found.mappings().one_or_none()
    return _user(row) if row else None


async def users(tx: Connection) -> list[User]:
    """All accounts, by name."""
    found = await tx.execute(text(f"select {_USER} from users order by username"))
    return [_user(row) for row in found.mappings()]


async def add_user(tx: Connection, user: User) -> bool:
    """Adds an account; False when the name is taken."""
    added = await tx.execute(
        text(
            "insert into users (id, username, display_name, role, password_hash, locale, created_at) "
            "values (:id, :username, :display_name, :role, :password_hash, :locale, :created_at) "
            "on conflict (username) do nothing"
        ),
        {**vars(user), "role": user.role.value},
    )
    return added.rowcount == 1


async def save_user(tx: Connection, user: User) -> None:
    """Writes all that can change."""
    await tx.execute(
        text(
            "update users set display_name = :display_name, role = :role, password_hash = :password_hash, "
            "locale = :locale, disabled_at = :disabled_at where id = :id"
        ),
        {**vars(user), "role": user.role.value},
    )


async def other_active_admins(tx: Connection, user_id: UUID) -> int:
    """How many administrators remain without this one. Their rows are locked: two cannot step down past each other."""
    found = await tx.execute(
        text("select id from users where role = 'admin' and disabled_at is null and id <> :id order by id for update"),
        {"id": user_id},
    )
    return len(found.all())


async def user_count(tx: Connection) -> int:
    """How many accounts there are."""
    return int((await tx.execute(text("select count(*) from users"))).scalar_one())


# sessions -----------------------------------------------------------------------------------------------------


async def add_session(
    tx: Connection, *, token_hash: bytes, user_id: UUID, csrf_token: str, now: datetime, expires_at: datetime
) -> None:
    """Adds a session."""
    await tx.execute(
        text(
            "insert into sessions (token_hash, user_id, csrf_token, created_at, seen_at, expires_at) "
            "values (:token_hash, :user_id, :csrf_token, :now, :now, :expires_at)"
        ),
        {"token_hash": token_hash, "user_id": user_id, "csrf_token": csrf_token, "now": now, "expires_at": expires_at},
    )


async def session(tx: Connection, token_hash: bytes, now: datetime, idle_since: datetime) -> Session | None:
    """The session if it is neither over nor idle since before `idle_since`, and the account is not disabled.

    A purpose whose incident has been closed is none any more.
    """
    found = await tx.execute(
        text(
            "select s.token_hash, s.csrf_token, s.created_at as s_created_at, s.seen_at, s.expires_at, s.purpose_kind, "
            "s.purpose_incident_id, s.purpose_note, s.purpose_set_at, u.id, u.username, u.display_name, u.role, "
            "u.password_hash, u.locale, u.created_at, u.disabled_at, i.number, i.title, i.status "
            "from sessions s join users u on u.id = s.user_id left join incidents i on i.id = s.purpose_incident_id "
            "where s.token_hash = :token_hash and s.expires_at > :now and s.seen_at > :idle_since "
            "and u.disabled_at is null"
        ),
        {"token_hash": token_hash, "now": now, "idle_since": idle_since},
    )
    row = found.mappings().one_or_none()
    return _session(row) if row else None


def _session(row: RowMapping) -> Session:
    columns = ("id", "username", "display_name", "role", "password_hash", "locale", "created_at", "disabled_at")
    return Session(
        token_hash=bytes(row["token_hash"]),
        csrf_token=row["csrf_token"],
        created_at=row["s_created_at"],
        seen_at=row["seen_at"],
        expires_at=row["expires_at"],
        user=_user({name: row[name] for name in columns}),
        purpose=_purpose(row),
        incident_number=row["number"],
        incident_title=row["title"],
    )


def _purpose(row: RowMapping) -> Purpose | None:
    if row["purpose_kind"] is None:
        return None
    kind = PurposeKind(row["purpose_kind"])
    if kind is PurposeKind.INCIDENT and row["status"] != "open":
        return None
    return Purpose(kind, row["purpose_incident_id"], row["purpose_note"], row["purpose_set_at"])


async def touch_session(tx: Connection, token_hash: bytes, now: datetime) -> None:
    """The session was used."""
    await tx.execute(
        text("update sessions set seen_at = :now where token_hash = :token_hash"),
        {"token_hash": token_hash, "now": now},
    )


async def end_session(tx: Connection, token_hash: bytes) -> None:
    """Ends one session."""
    await tx.execute(text("delete from sessions where token_hash = :token_hash"), {"token_hash": token_hash})


async def end_sessions(tx: Connection, user_id: UUID, but: bytes = b"") -> None:
    """Ends all sessions of an account, except `but`."""
    await tx.execute(
        text("delete from sessions where user_id = :user_id and token_hash <> :but"), {"user_id": user_id, "but": but}
    )


async def drop_ended(tx: Connection, now: datetime, idle_since: datetime, attempts_before: datetime) -> None:
    """Forgets sessions that are over and attempts nobody counts any more."""
    await tx.execute(
        text("delete from sessions where expires_at <= :now or seen_at <= :idle_since"),
        {"now": now, "idle_since": idle_since},
    )
    await tx.execute(text("delete from login_attempts where at < :before"), {"before": attempts_before})


async def save_purpose(tx: Connection, token_hash: bytes, purpose: Purpose | None) -> None:
    """Sets or clears the purpose of a session."""
    await tx.execute(
        text(
            "update sessions set purpose_kind = :kind, purpose_incident_id = :incident_id, purpose_note = :note, "
            "purpose_set_at = :set_at where token_hash = :token_hash"
        ),
        {
            "token_hash": token_hash,
            "kind": purpose.kind.value if purpose else None,
            "incident_id": purpose.incident_id if purpose else None,
            "note": purpose.note if purpose else "",
            "set_at": purpose.set_at if purpose else None,
        },
    )


async def incident_status(tx: Connection, incident_id: UUID) -> str | None:
    """`open` or `closed`, None for no such incident.

    Reads the incidents' table, which lies above this feature in the stack: a look at one column, so that a purpose
    cannot be invented.
    """
    found = await tx.execute(text("select status from incidents where id = :id"), {"id": incident_id})
    status: str | None = found.scalar_one_or_none()
    return status


# sign-in attempts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failures:
    """Failed sign-ins of the window: how many, and when the oldest was."""

    pair: int  # this name from this address
    pair_oldest_at: datetime | None
    name: int  # this name from anywhere
    name_oldest_at: datetime | None
    address: int  # any name from this address
    address_oldest_at: datetime | None


async def lock_attempts(tx: Connection, username: str, address: str) -> None:
    """One decision at a time per name and per address: parallel guesses are counted, too."""
    for key in sorted((f"name {username}", f"address {address}")):
        await tx.execute(text("select pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"sign-in {key}"})


async def failures(tx: Connection, username: str, address: str, since: datetime) -> Failures:
    """Counts failures after `since`."""
    both = "username = :username and address = :address"
    found = await tx.execute(
        text(
            f"select count(*) filter (where {both}) as pair, min(at) filter (where {both}) as pair_oldest_at, "
            "count(*) filter (where username = :username) as name, "
            "min(at) filter (where username = :username) as name_oldest_at, "
            "count(*) filter (where address = :address) as address, "
            "min(at) filter (where address = :address) as address_oldest_at "
            "from login_attempts where at > :since and not succeeded "
            "and (username = :username or address = :address)"
        ),
        {"username": username, "address": address, "since": since},
    )
    return Failures(**found.mappings().one())


async def add_attempt(tx: Connection, username: str, address: str, now: datetime) -> int:
    """Counts an attempt as failed until it succeeds; its id."""
    found = await tx.execute(
        text(
            "insert into login_attempts (username, address, at, succeeded) "
            "values (:username, :address, :now, false) returning id"
        ),
        {"username": username, "address": address, "now": now},
    )
    return int(found.scalar_one())


async def attempt_succeeded(tx: Connection, attempt_id: int, username: str, address: str) -> None:
    """The attempt was right: it and this name's failures from this address no longer count."""
    await tx.execute(
        text(
            "delete from login_attempts where username = :username and address = :address "
            "and not succeeded and id <> :id"
        ),
        {"username": username, "address": address, "id": attempt_id},
    )
    await tx.execute(text("update login_attempts set succeeded = true where id = :id"), {"id": attempt_id})
