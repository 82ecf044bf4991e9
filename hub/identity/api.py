"""Routes of sign-in, session, purpose and accounts."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from hub.context import Context, get_context
from hub.errors import Unauthenticated
from hub.identity import accounts, passwords, service
from hub.identity.guard import SESSION_COOKIE, open_to, requires
from hub.identity.model import GRANTED, Permission, Principal, Session
from hub.identity.schemas import (
    LoginAsk,
    OwnPatch,
    PurposeAsk,
    PurposeView,
    SessionView,
    UserCreated,
    UserNew,
    UserPatch,
    UserView,
)

router = APIRouter()
Hub = Annotated[Context, Depends(get_context)]
SignedIn = Annotated[Principal, Depends(requires(Permission.SIGNED_IN))]
UserEditor = Annotated[Principal, Depends(requires(Permission.USER_EDIT))]


def _cookie(request: Request) -> str:
    return request.cookies.get(SESSION_COOKIE, "")


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _view(session: Session) -> SessionView:
    purpose = session.purpose
    return SessionView(
        user=UserView.model_validate(session.user),
        permissions=sorted(GRANTED[session.user.role]),
        purposes=session.principal().purposes(),
        purpose=PurposeView(
            kind=purpose.kind,
            incident_id=purpose.incident_id,
            incident_number=session.incident_number,
            incident_title=session.incident_title,
            note=purpose.note,
            set_at=purpose.set_at,
        )
        if purpose
        else None,
        csrf_token=session.csrf_token,
        expires_at=session.expires_at,
    )


async def _session(request: Request, context: Context) -> SessionView:
    async with context.db.transaction() as tx:
        session = await service.session_of(tx, _cookie(request), context.clock())
    if session is None:
        raise Unauthenticated("session.missing")
    return _view(session)


@router.post("/session", tags=["session"], status_code=201, dependencies=[Depends(open_to(Permission.PUBLIC))])
async def sign_in(ask: LoginAsk, request: Request, response: Response, context: Hub) -> SessionView:
    """Signs in: sets the session's cookie. 401 `login.failed`; 429 `login.too_many` with `retry_after_s`."""
    # Three steps, three transactions: the attempt must count even when the password is wrong, and no
    # connection is held while argon2 works.
    async with context.db.transaction() as tx:
        attempt = await service.begin_sign_in(tx, ask.username, _address(request), context.clock())
    right = await passwords.fits(attempt.user.password_hash if attempt.user else None, ask.password)
    if not right or attempt.user is None:
        async with context.db.transaction() as tx:
            await service.refuse_sign_in(tx, attempt, context.clock())
        raise Unauthenticated("login.failed")
    async with context.db.transaction() as tx:
        if old := _cookie(request):
            await service.sign_out(tx, old)
        cookie, session = await service.finish_sign_in(tx, attempt, attempt.user, context.clock())
    response.set_cookie(
        SESSION_COOKIE,
        cookie,
        max_age=int(service.SESSION_LIFE.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=context.cookie_secure,
        path="/",
    )
    return _view(session)


@router.get("/session", tags=["session"])
async def show_session(_who: SignedIn, request: Request, context: Hub) -> SessionView:
    """Who one is, what one may do, and for what purpose one is working."""
    return await _session(request, context)


@router.delete("/session", tags=["session"], status_code=204)
async def sign_out(_who: SignedIn, request: Request, response: Response, context: Hub) -> None:
    """Ends the session."""
    async with context.db.transaction() as tx:
        await service.sign_out(tx, _cookie(request))
    response.delete_cookie(SESSION_COOKIE, path="/")


@router.put("/session/purpose", tags=["session"])
async def set_purpose(ask: PurposeAsk, who: SignedIn, request: Request, context: Hub) -> SessionView:
    """Says what one looks at footage for. 403 `purpose.not_allowed`; 422 `purpose.*`."""
    async with context.db.transaction() as tx:
        await service.set_purpose(
            tx,
            who,
            _cookie(request),
            kind=ask.kind,
            incident_id=ask.incident_id,
            note=ask.note,
            now=context.clock(),
        )
    return await _session(request, context)


@router.delete("/session/purpose", tags=["session"])
async def clear_purpose(who: SignedIn, request: Request, context: Hub) -> SessionView:
    """Ends the purpose."""
    async with context.db.transaction() as tx:
        await service.clear_purpose(tx, who, _cookie(request), context.clock())
    return await _session(request, context)


@router.patch("/session/user", tags=["session"])
async def change_own_account(ask: OwnPatch, who: SignedIn, request: Request, context: Hub) -> UserView:
    """One's own language and password; a new password ends one's other sessions. 429 `login.too_many`."""
    attempt = None
    if ask.password is not None:
        # The current password is asked for, so guessing it in somebody's open session is slowed as at the door.
        async with context.db.transaction() as tx:
            attempt = await service.begin_sign_in(tx, who.username, _address(request), context.clock())
    async with context.db.transaction() as tx:
        user = await accounts.change_own(
            tx,
            who,
            _cookie(request),
            locale=ask.locale,
            password=ask.password,
            current_password=ask.current_password,
            now=context.clock(),
        )
        if attempt is not None:
            await service.attempt_was_right(tx, attempt)
    return UserView.model_validate(user)


@router.get("/users", tags=["users"])
async def list_users(_who: UserEditor, context: Hub) -> list[UserView]:
    """All accounts."""
    async with context.db.transaction() as tx:
        return [UserView.model_validate(user) for user in await accounts.all_accounts(tx)]


@router.post("/users", tags=["users"], status_code=201)
async def create_user(ask: UserNew, who: UserEditor, context: Hub) -> UserCreated:
    """A new account; its password is answered this once."""
    async with context.db.transaction() as tx:
        user, password = await accounts.create_account(
            tx,
            username=ask.username,
            display_name=ask.display_name,
            role=ask.role,
            locale=ask.locale,
            now=context.clock(),
            by=who,
        )
    return UserCreated(user=UserView.model_validate(user), password=password)


@router.patch("/users/{user_id}", tags=["users"])
async def change_user(user_id: UUID, ask: UserPatch, who: UserEditor, context: Hub) -> UserView:
    """Changes an account."""
    async with context.db.transaction() as tx:
        user = await accounts.change_account(
            tx,
            user_id,
            display_name=ask.display_name,
            role=ask.role,
            locale=ask.locale,
            disabled=ask.disabled,
            now=context.clock(),
            by=who,
        )
    return UserView.model_validate(user)


@router.post("/users/{user_id}/password-reset", tags=["users"])
async def reset_password(user_id: UUID, who: UserEditor, context: Hub) -> UserCreated:
    """A new generated password, answered this once; all sessions of the account end."""
    async with context.db.transaction() as tx:
        user, password = await accounts.reset_password(tx, user_id, now=context.clock(), by=who)
    return UserCreated(user=UserView.model_validate(user), password=password)
