"""Accounts: made and changed by administrators, and by their owners as far as it is theirs."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.db.engine import Connection
from hub.errors import Conflict, Invalid, NotFound
from hub.identity import passwords, repository
from hub.identity.ledgering import draft
from hub.identity.model import Principal, Role, User
from hub.identity.service import token_hash
from hub.kit.ids import new_id
from hub.ledger import service as ledger
from hub.ledger.model import Action, Draft, by_system


async def all_accounts(tx: Connection) -> list[User]:
    """All accounts, by name."""
    return await repository.users(tx)


async def any_account(tx: Connection) -> bool:
    """Whether anybody can sign in at all; False on a fresh hub."""
    return await repository.user_count(tx) > 0


async def create_account(
    tx: Connection,
    *,
    username: str,
    display_name: str,
    role: Role,
    now: datetime,
    by: Principal | None,
    locale: str = "zh-CN",
    password: str | None = None,
) -> tuple[User, str]:
    """A new account and its password (generated unless given). `by` None: the command line.

    Raises:
        Conflict: `user.name_taken`.
    """
    chosen = password or passwords.generated()
    user = User(new_id(), username.lower(), display_name, role, await passwords.hashed(chosen), locale, now)
    if not await repository.add_user(tx, user):
        raise Conflict("user.name_taken")
    await _record(tx, by, Action.USER_CREATED, user, {"username": user.username, "role": role.value}, now)
    return user, chosen


async def change_account(
    tx: Connection,
    user_id: UUID,
    *,
    display_name: str | None,
    role: Role | None,
    locale: str | None,
    disabled: bool | None,
    now: datetime,
    by: Principal,
) -> User:
    """Changes an account. A disabled one is signed out everywhere; a changed role counts from the next request.

    Raises:
        NotFound: `user.not_found`. Conflict: `user.last_admin`: nobody would be left to administer.
    """
    old = await _account(tx, user_id)
    disabled_at = old.disabled_at if disabled is None else (old.disabled_at or now) if disabled else None
    new = replace(
        old,
        display_name=display_name or old.display_name,
        role=role or old.role,
        locale=locale or old.locale,
        disabled_at=disabled_at,
    )
    if _administers(old) and not _administers(new) and await repository.other_active_admins(tx, user_id) == 0:
        raise Conflict("user.last_admin")
    changed = {name: str(getattr(new, name)) for name in _SHOWN if getattr(new, name) != getattr(old, name)}
    if changed:
        await repository.save_user(tx, new)
        if new.disabled_at is not None:
            await repository.end_sessions(tx, user_id)
        await _record(tx, by, Action.USER_CHANGED, new, changed, now)
    return new


_SHOWN = ("display_name", "role", "locale", "disabled_at")


def _administers(user: User) -> bool:
    return user.role is Role.ADMIN and user.disabled_at is None


async def reset_password(tx: Connection, user_id: UUID, *, now: datetime, by: Principal | None) -> tuple[User, str]:
    """A new generated password; all sessions of the account end.

    Raises:
        NotFound: `user.not_found`.
    """
    user = await _account(tx, user_id)
    password = passwords.generated()
    user = replace(user, password_hash=await passwords.hashed(password))
    await repository.save_user(tx, user)
    await repository.end_sessions(tx, user_id)
    await _record(tx, by, Action.USER_CHANGED, user, {"password": "reset"}, now)
    return user, password


async def change_own(
    tx: Connection,
    who: Principal,
    cookie: str,
    *,
    locale: str | None,
    password: str | None,
    current_password: str | None,
    now: datetime,
) -> User:
    """One's own language and password. A new password ends one's other sessions.

    Raises:
        Invalid: `password.current_wrong`, `password.unchanged`.
    """
    user = await _account(tx, who.user_id)
    if locale:
        user = replace(user, locale=locale)
    if password is not None:
        if not await passwords.fits(user.password_hash, current_password or ""):
            raise Invalid("password.current_wrong")
        if password == current_password:
            raise Invalid("password.unchanged")
        user = replace(user, password_hash=await passwords.hashed(password))
        await repository.end_sessions(tx, who.user_id, but=token_hash(cookie))
        await _record(tx, who, Action.USER_CHANGED, user, {"password": "changed by its owner"}, now)
    await repository.save_user(tx, user)
    return user


async def _account(tx: Connection, user_id: UUID) -> User:
    user = await repository.user_by_id(tx, user_id)
    if user is None:
        raise NotFound("user.not_found")
    return user


async def _record(
    tx: Connection, by: Principal | None, action: Action, user: User, detail: dict[str, Any], now: datetime
) -> None:
    subject: dict[str, Any] = {"subject_kind": "user", "subject_id": user.id, "detail": detail}
    entry: Draft = draft(by, action, **subject) if by else by_system(action, **subject)
    await ledger.record(tx, entry, now)
