"""The consent gate: what may leave this house, decided here, whoever asks.

It stands on the desired state's consents and on the resident's own pauses, both kept in the spool, so that it works before and
without the network. While a camera is refused nothing of it is published or uploaded (sightings included), running uploads stop,
live is stopped. **Recording at home continues**: the resident's own footage on the resident's own disk is not sharing; a camera
that is removed from the desired state or whose device is removed is no longer recorded.

Sealed clips of a consented span wait for the refusal to end; they are not lost. Hours bound what is recorded for sharing, not
when a consented clip may travel: a clip of 17:59 still goes up at 18:05.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import structlog

from edge_agent.kit.clock import Clock, utc_now
from edge_agent.spool import wishes
from edge_agent.spool.store import Spool
from edge_agent.spool.wishes import Pause, Refusal
from models.consent import refusal
from models.wire.downlink import Consent, DesiredState

What = Literal["clips", "live"]
PAUSED = "consent.paused"
NOT_ADOPTED = "consent.missing"
REFUSALS_KEPT = timedelta(days=40)  # longer than any recording from which a clip could still be cut

log = structlog.get_logger()


_Span = tuple[datetime, datetime | None]


@dataclass(frozen=True)
class _Facts:
    """What decisions are made from; replaced whole, so that any thread may read it."""

    consents: Mapping[UUID, Consent] = field(default_factory=dict)
    pauses: Mapping[UUID, Pause] = field(default_factory=dict)
    refused: Mapping[UUID, _Span] = field(default_factory=dict)  # the newest refusal of each camera


class ConsentGate:
    """Decides for clips, sightings and live. Asked from any thread; told changes from the event loop."""

    def __init__(self, spool: Spool, clock: Clock = utc_now) -> None:
        self._spool = spool
        self._clock = clock
        self._facts = _Facts()
        self._codes: dict[UUID, tuple[str, str]] = {}  # (clips, live) as last settled
        self._listeners: list[Callable[[UUID], None]] = []
        self._lock = threading.Lock()
        self.desired: DesiredState | None = None

    def on_change(self, listener: Callable[[UUID], None]) -> None:
        """Calls `listener` (from the event loop) with a camera whose answer has changed."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Reads desired state and pauses anew and settles what follows. At start and after every change."""
        state, pauses = await self._spool.run(lambda db: (wishes.desired(db), wishes.pauses(db)))
        self._take(state, pauses)
        await self.settle()

    def _take(self, state: DesiredState | None, pauses: list[Pause]) -> None:
        self.desired = state
        consents = {} if state is None else {one.camera_id: one.consent for one in state.cameras}
        with self._lock:
            self._facts = _Facts(consents, {one.camera_id: one for one in pauses}, self._facts.refused)

    async def settle(self) -> None:
        """Writes down answers that changed (by a new state, or by time passing) and tells the listeners.

        Call it twice a second: a pause is in force within that time at most, `refuse` itself is always exact.
        """
        now = self._clock()
        for camera_id in list(self._facts.consents):
            codes = (self.refuse(camera_id, "clips", now), self.refuse(camera_id, "live", now))
            if self._codes.get(camera_id) != codes:
                await self._changed(camera_id, codes, now)
        for camera_id in [one for one in self._codes if one not in self._facts.consents]:
            await self._changed(camera_id, (NOT_ADOPTED, NOT_ADOPTED), now)
            del self._codes[camera_id]

    async def _changed(self, camera_id: UUID, codes: tuple[str, str], now: datetime) -> None:
        since = self._since(camera_id, codes[0], now)
        await self._spool.run(wishes.note_refusal, camera_id, codes[0], since)
        self._codes[camera_id] = codes
        self._mark(camera_id, codes[0], since)
        log.info("consent.changed", camera_id=str(camera_id), clips=codes[0] or "allowed", live=codes[1] or "allowed")
        for listener in self._listeners:
            listener(camera_id)

    def _mark(self, camera_id: UUID, code: str, at: datetime) -> None:
        """Keeps the newest refusal's span in memory: from `at` on refused, or until `at`."""
        with self._lock:
            last = self._facts.refused.get(camera_id)
            if code:
                span: _Span = (at, None) if last is None or last[1] is not None else last
            elif last is None:
                return
            else:
                span = (last[0], at)
            refused = {**self._facts.refused, camera_id: span}
            self._facts = _Facts(self._facts.consents, self._facts.pauses, refused)

    def _since(self, camera_id: UUID, code: str, now: datetime) -> datetime:
        """A pause set at the box counts from when it was set, not from when it was noticed."""
        pause = self._facts.pauses.get(camera_id)
        return pause.since if code == PAUSED and pause is not None and _holds(pause, now) else now

    def refuse(self, camera_id: UUID, what: What, at: datetime | None = None) -> str:
        """Why `what` of this camera may not be shared at `at` (now): a stable code, or "" when it may."""
        facts, when = self._facts, at or self._clock()
        pause = facts.pauses.get(camera_id)
        if pause is not None and _holds(pause, when):
            return PAUSED
        return refusal(facts.consents.get(camera_id), what, when)

    def refuse_sighting(self, camera_id: UUID, start_at: datetime, end_at: datetime) -> str:
        """Why a sighting of that span may not be told; "" when it lies wholly in consented time.

        One that ended before a pause may be told, but waits in the outbox until the pause is over.
        """
        code = self.refuse(camera_id, "clips")
        span = self._facts.refused.get(camera_id)
        if span is None:
            return code
        if span[1] is None:
            return "" if end_at <= span[0] else code or PAUSED
        return code or (PAUSED if start_at < span[1] and end_at > span[0] else "")

    def holds(self, camera_id: UUID) -> bool:
        """Whether what was made with consent must wait now. Hours do not hold: see the module's text."""
        facts, now = self._facts, self._clock()
        pause, consent = facts.pauses.get(camera_id), facts.consents.get(camera_id)
        if pause is not None and _holds(pause, now):
            return True
        at_any_hour = None if consent is None else consent.model_copy(update={"hours": []})
        return refusal(at_any_hour, "clips", now) != ""

    def open_cameras(self) -> frozenset[UUID]:
        """Adopted cameras whose consented messages and clips may go now."""
        return frozenset(one for one in self._facts.consents if not self.holds(one))

    def closed_cameras(self) -> frozenset[UUID]:
        """Cameras of which nothing may go: adopted and held, or paused at the box. (A candidate may still be offered.)"""
        facts, now = self._facts, self._clock()
        paused = (one.camera_id for one in facts.pauses.values() if _holds(one, now))
        return frozenset((*paused, *(one for one in facts.consents if self.holds(one))))

    def consent_version(self, camera_id: UUID) -> int:
        """Version of the consent in force; 0: none."""
        consent = self._facts.consents.get(camera_id)
        return 0 if consent is None else consent.version

    async def allowed_span(
        self, camera_id: UUID, start_at: datetime, end_at: datetime
    ) -> tuple[datetime, datetime] | None:
        """The longest part of the span in which clips were allowed, or None. Bounds pre- and post-roll too."""
        refused = await self._spool.run(wishes.refusals, camera_id, start_at, end_at)
        return longest_free(start_at, end_at, refused)


def longest_free(start_at: datetime, end_at: datetime, refused: list[Refusal]) -> tuple[datetime, datetime] | None:
    """The longest part of [`start_at`, `end_at`) outside all `refused` spans."""
    free: list[tuple[datetime, datetime]] = []
    at = start_at
    for one in sorted(refused, key=lambda span: span.start_at):
        if one.start_at > at:
            free.append((at, min(one.start_at, end_at)))
        at = max(at, one.end_at or end_at)
    if at < end_at:
        free.append((at, end_at))
    return max(free, key=lambda span: span[1] - span[0], default=None)


def _holds(pause: Pause, at: datetime) -> bool:
    return pause.since <= at and (pause.until is None or at < pause.until)
