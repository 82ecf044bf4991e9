"""Incidents and their links: proposed by a ranking with reasons, confirmed or rejected by people."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from uuid import UUID

from hub.db.engine import Connection
from hub.errors import Conflict, Invalid, NotFound
from hub.identity.ledgering import draft
from hub.identity.model import Principal
from hub.incidents import repository
from hub.incidents.model import LONGEST, Decision, DecisionWord, Facts, Incident, TargetKind, number_prefix
from hub.incidents.priors import PRIORS, Prior
from hub.incidents.ranking import Candidate, Event, Place, Seen, rank
from hub.kit.cursors import Place as PagePlace
from hub.kit.ids import new_id
from hub.ledger import service as ledger
from hub.ledger.model import Action
from models.vocabulary import IncidentCategory

SHOWN = 60  # links proposed at most; decided ones are always shown
_METRES_PER_DEGREE = 111_320.0


def _check(facts: Facts) -> None:
    if facts.occurred_to < facts.occurred_from:
        raise Invalid("incident.span_invalid", "it ends before it begins")
    if facts.occurred_to - facts.occurred_from > LONGEST:
        raise Invalid("incident.span_invalid", f"longer than {LONGEST.days} days")
    if not (abs(facts.lon) <= 180 and abs(facts.lat) <= 89):
        raise Invalid("incident.position_invalid", "outside the earth")
    if not facts.title.strip() or "\x00" in facts.title + facts.note:
        raise Invalid("incident.title_invalid")


async def create(tx: Connection, who: Principal, facts: Facts, now: datetime) -> Incident:
    """A new incident with the day's next JQ-number, and a ledger row.

    Raises:
        Invalid: `incident.span_invalid`, `incident.position_invalid`, `incident.title_invalid`.
    """
    _check(facts)
    prefix = number_prefix(now)
    await repository.lock_numbers(tx, prefix)
    number = f"{prefix}{await repository.last_number(tx, prefix) + 1:04d}"
    incident_id = new_id()
    await repository.insert(tx, incident_id, number, facts, who.user_id, now)
    detail = {"number": number, "category": facts.category.value}
    await ledger.record(
        tx,
        draft(who, Action.INCIDENT_CREATED, subject_kind="incident", subject_id=incident_id, detail=detail),
        now,
    )
    return await incident(tx, incident_id)


async def incident(tx: Connection, incident_id: UUID, *, lock: bool = False) -> Incident:
    """An incident. Raises `NotFound("incident.not_found")`."""
    found = await repository.one(tx, incident_id, lock=lock)
    if found is None:
        raise NotFound("incident.not_found")
    return found


async def page(
    tx: Connection, status: str | None, after: PagePlace | None, limit: int
) -> tuple[list[Incident], PagePlace | None]:
    """Incidents newest first, and where the next page begins."""
    rows = await repository.page(tx, status, after, limit + 1)
    items = rows[:limit]
    return items, PagePlace(items[-1].created_at, items[-1].id) if len(rows) > limit else None


def facts_of(found: Incident) -> Facts:
    """What is told of an incident now."""
    return Facts(
        IncidentCategory(found.category),
        found.title,
        found.note,
        found.lon,
        found.lat,
        found.occurred_from,
        found.occurred_to,
    )


async def change(
    tx: Connection, who: Principal, incident_id: UUID, facts: Facts, status: str | None, now: datetime
) -> Incident:
    """New facts, or another state; a ledger row that names what changed. Raises as `create`."""
    _check(facts)
    old = await incident(tx, incident_id, lock=True)
    new_status = status or old.status
    closed_at = (old.closed_at or now) if new_status == "closed" else None
    was, becomes = asdict(facts_of(old)), asdict(facts)
    changed = [name for name in becomes if becomes[name] != was[name]]
    if new_status != old.status:
        changed.append(f"status:{new_status}")
    if not changed:
        return old
    await repository.update(tx, incident_id, facts, new_status, closed_at)
    await ledger.record(
        tx,
        draft(
            who,
            Action.INCIDENT_CHANGED,
            subject_kind="incident",
            subject_id=incident_id,
            detail={"number": old.number, "changed": changed},
        ),
        now,
    )
    return await incident(tx, incident_id)


# links --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """A candidate with what was decided about it. A decided link whose footage is gone is not shown."""

    candidate: Candidate
    decision: DecisionWord | None


@dataclass(frozen=True)
class Links:
    """Links by score, and what was looked through. `ledger_seq` is the look's row."""

    items: list[Link]
    considered: int
    prior: Prior
    from_at: datetime
    to_at: datetime
    ledger_seq: int


def target_of(candidate: Candidate) -> tuple[TargetKind, UUID, datetime]:
    """What a decision about this candidate names: the clip where there is one."""
    if candidate.clip is not None:
        return "clip", candidate.clip.id, candidate.clip.start_at
    assert candidate.sighting is not None, "a candidate has a clip or a sighting"
    return "sighting", candidate.sighting.id, candidate.sighting.start_at


def camera_of(candidate: Candidate) -> Event | Seen:
    """The half of a candidate that names the camera."""
    half = candidate.clip or candidate.sighting
    assert half is not None, "a candidate has a clip or a sighting"
    return half


def _box(place: Place, radius_m: float) -> tuple[float, float, float, float]:
    """West, south, east, north of a square around a circle."""
    lat = radius_m / _METRES_PER_DEGREE
    lon = lat / max(0.01, math.cos(math.radians(place.lat)))
    return place.lon - lon, place.lat - lat, place.lon + lon, place.lat + lat


def _within(candidate: Candidate, radius_m: float) -> bool:
    away = candidate.scored.distance_m
    return away is not None and away <= radius_m


async def links(tx: Connection, who: Principal, incident_id: UUID, now: datetime) -> Links:
    """Footage that may belong to the incident, best first, with decided links among it; a ledger row."""
    about = await incident(tx, incident_id)
    prior = PRIORS[IncidentCategory(about.category)]
    place = Place(about.lon, about.lat)
    from_at, to_at = about.occurred_from - prior.before, about.occurred_to + prior.after
    box = _box(place, prior.radius_m)
    sightings = await repository.sightings_near(tx, box, from_at, to_at)
    clips = await repository.clips_near(tx, box, from_at, to_at)
    decided = {(one.target_kind, one.target_id): one for one in await repository.decisions(tx, incident_id)}
    near = [one for one in _ranked(about, prior, sightings, clips) if _within(one, prior.radius_m)]
    missing = _undrawn(decided.values(), near)
    more = await _footage(tx, about, prior, missing) if missing else []
    every = sorted([*near, *more], key=lambda one: -one.scored.score)
    items = _shown(every, decided)
    seq = await _record_look(tx, who, about, items, len(near), now)
    return Links(items, len(sightings) + len(clips), prior, from_at, to_at, seq)


def _ranked(about: Incident, prior: Prior, sightings: Sequence[Seen], clips: Sequence[Event]) -> list[Candidate]:
    place = Place(about.lon, about.lat)
    return rank(place, about.occurred_from, about.occurred_to, prior, sightings, clips)


def _undrawn(decided: Iterable[Decision], near: list[Candidate]) -> list[Decision]:
    """Decisions about footage outside of what was looked through (the incident was moved since, say)."""
    drawn = {target_of(one)[:2] for one in near}
    return [one for one in decided if (one.target_kind, one.target_id) not in drawn]


async def _footage(tx: Connection, about: Incident, prior: Prior, targets: Sequence[Decision]) -> list[Candidate]:
    """The footage of some decisions, as candidates."""
    clip_ids = [one.target_id for one in targets if one.target_kind == "clip"]
    alone = [(one.target_id, one.target_start_at) for one in targets if one.target_kind == "sighting"]
    clips = await repository.clips_by_id(tx, clip_ids) if clip_ids else []
    sightings = await repository.sightings_by_id(tx, alone) if alone else []
    for clip in clips:
        sightings += await repository.sightings_of_clips(tx, [clip.id], clip.start_at, clip.end_at)
    kept = [replace(one, clip_id=None) if (one.id, one.start_at) in alone else one for one in sightings]
    return _ranked(about, prior, kept, clips)


def _shown(every: list[Candidate], decided: dict[tuple[TargetKind, UUID], Decision]) -> list[Link]:
    items, open_ones = [], 0
    for one in every:
        decision = decided.get(target_of(one)[:2])
        if decision is None:
            open_ones += 1
            if open_ones > SHOWN:
                continue
        items.append(Link(one, decision.decision if decision else None))
    return items


async def _record_look(
    tx: Connection, who: Principal, about: Incident, items: list[Link], found: int, now: datetime
) -> int:
    cameras = {camera_of(link.candidate).camera_id for link in items}
    return await ledger.record(
        tx,
        draft(
            who,
            Action.LINKS_PROPOSED,
            camera_ids=tuple(sorted(cameras)),
            subject_kind="incident",
            subject_id=about.id,
            detail={"number": about.number, "shown": len(items), "found": found},
        ),
        now,
    )


async def decide(
    tx: Connection,
    who: Principal,
    incident_id: UUID,
    kind: TargetKind,
    target_id: UUID,
    decision: DecisionWord,
    *,
    start_at: datetime | None,
    now: datetime,
) -> None:
    """Confirms or rejects a link, keeping the score and reasons it was decided under; a ledger row.

    `start_at` finds a sighting that lies outside the incident's own window.

    Raises:
        NotFound: `incident.not_found`, `link.target_not_found`. Conflict: `incident.closed`.
    """
    about = await incident(tx, incident_id, lock=True)
    if about.status == "closed":
        raise Conflict("incident.closed")
    candidate = await _target(tx, about, kind, target_id, start_at)
    scored = candidate.scored
    await repository.decide(
        tx,
        incident_id,
        Decision(
            kind,
            target_id,
            camera_of(candidate).start_at,
            decision,
            scored.score,
            [asdict(reason) for reason in scored.reasons],
        ),
        who.user_id,
        now,
    )
    detail = {"kind": kind, "target": str(target_id), "decision": decision, "score": f"{scored.score:.4f}"}
    await _record_decision(tx, who, about, (camera_of(candidate).camera_id,), detail, now)


async def _target(
    tx: Connection, about: Incident, kind: TargetKind, target_id: UUID, start_at: datetime | None
) -> Candidate:
    prior = PRIORS[IncidentCategory(about.category)]
    if kind == "sighting" and start_at is None:
        since, until = about.occurred_from - prior.before, about.occurred_to + prior.after
        start_at = await repository.sighting_start(tx, target_id, since, until)
    if kind == "clip" or start_at is not None:
        asked = Decision(kind, target_id, start_at or about.occurred_from, "confirmed", 0.0, [])
        for candidate in await _footage(tx, about, prior, [asked]):
            if target_of(candidate)[:2] == (kind, target_id):
                return candidate
    raise NotFound("link.target_not_found")


async def undo(
    tx: Connection, who: Principal, incident_id: UUID, kind: TargetKind, target_id: UUID, now: datetime
) -> None:
    """Takes a decision back; the link is a proposal again. None taken is no error. A ledger row where something changed.

    Raises:
        NotFound: `incident.not_found`. Conflict: `incident.closed`.
    """
    about = await incident(tx, incident_id, lock=True)
    if about.status == "closed":
        raise Conflict("incident.closed")
    was = await repository.undo(tx, incident_id, kind, target_id)
    if was is not None:
        detail = {"kind": kind, "target": str(target_id), "decision": "undone", "was": was}
        await _record_decision(tx, who, about, (), detail, now)


async def _record_decision(
    tx: Connection,
    who: Principal,
    about: Incident,
    cameras: tuple[UUID, ...],
    detail: dict[str, str],
    now: datetime,
) -> None:
    await ledger.record(
        tx,
        draft(
            who,
            Action.LINK_DECIDED,
            camera_ids=cameras,
            subject_kind="incident",
            subject_id=about.id,
            detail=detail | {"number": about.number},
        ),
        now,
    )
