"""Consent and ledger of live viewing, on the database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from hub.cameras import service as cameras
from hub.context import Context
from hub.db.engine import Connection
from hub.errors import Forbidden, NotFound, Unavailable
from hub.identity.ledgering import draft
from hub.identity.model import Permission, Principal
from hub.identity.service import record_denial
from hub.ledger import service as ledger
from hub.ledger.model import Action
from hub.live.model import LiveCamera, ViewSession

_PATH = "/api/v1/live/sessions"


class DatabaseGate:
    """`hub.live.model.Gate` over the hub's own tables."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def admit(self, who: Principal, camera_id: UUID) -> LiveCamera:
        """See `Gate.admit`."""
        now = self._context.clock()
        async with self._transaction() as tx:
            camera = await cameras.camera(tx, camera_id)
            if camera is None or not camera.adopted:
                raise NotFound("camera.unknown")
            code = cameras.consent_allows(camera.consent, "live", now)
            if code:
                await record_denial(tx, who, Permission.LIVE, code, _PATH, now)
        if code:
            raise Forbidden(code)
        return LiveCamera(camera.id, camera.agent_id)

    async def refusals(self, camera_ids: set[UUID]) -> dict[UUID, str]:
        """See `Gate.refusals`."""
        now = self._context.clock()
        async with self._transaction() as tx:
            known = await cameras.cameras_by_ids(tx, camera_ids)
        refused: dict[UUID, str] = {}
        for camera_id in camera_ids:
            camera = known.get(camera_id)
            if camera is None or not camera.adopted:
                refused[camera_id] = "camera.retired"
            elif code := cameras.consent_allows(camera.consent, "live", now):
                refused[camera_id] = code
        return refused

    async def watched(self, session: ViewSession) -> None:
        """See `Gate.watched`."""
        now = self._context.clock()
        async with self._transaction() as tx:
            camera = await cameras.camera(tx, session.camera_id)
            code = cameras.consent_allows(camera.consent if camera else None, "live", now)
            if code:
                raise Forbidden(code)
            row = draft(
                session.who,
                Action.LIVE_WATCHED,
                camera_ids=(session.camera_id,),
                subject_kind="live_session",
                subject_id=session.id,
                detail={"stream": session.stream.value},
            )
            await ledger.record(tx, row, now)

    async def ended(self, session: ViewSession, seconds: int, reason: str) -> None:
        """See `Gate.ended`."""
        async with self._transaction() as tx:
            row = draft(
                session.who,
                Action.LIVE_ENDED,
                camera_ids=(session.camera_id,),
                subject_kind="live_session",
                subject_id=session.id,
                detail={"stream": session.stream.value, "seconds": seconds, "reason": reason},
            )
            await ledger.record(tx, row, self._context.clock())

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        try:
            async with self._context.db.transaction() as tx:
                yield tx
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable("database.unavailable", type(error).__name__) from error
