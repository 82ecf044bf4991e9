"""How likely footage belongs to an incident: distance, time, class, and whether the camera looks at the place.

score = 0.40·near + 0.35·timely + 0.15·class + 0.10·detector's score, and the place in view raises what is missing by a
third. Every part comes with its reason, so that a person can follow and disagree.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hub.incidents.priors import OTHER_CLASS, Prior
from models.vocabulary import ObjectClass

_EARTH_RADIUS_M = 6_371_008.8
_NEAR, _TIMELY, _CLASS, _SURE = 0.40, 0.35, 0.15, 0.10
_IN_VIEW = 1 / 3


@dataclass(frozen=True)
class Place:
    """WGS-84, degrees."""

    lon: float
    lat: float


@dataclass(frozen=True)
class View:
    """A camera's field of view on the map. `heading_deg` clockwise from north; None: unknown."""

    at: Place
    heading_deg: float | None
    fov_deg: float
    range_m: float


@dataclass(frozen=True)
class Seen:
    """A sighting that may matter. `view` None: the camera's place is not known."""

    id: UUID
    camera_id: UUID
    camera_name: str
    object_class: ObjectClass
    start_at: datetime
    end_at: datetime
    best_score: float
    best_box: dict[str, Any]
    picture_key: str | None
    clip_id: UUID | None
    view: View | None


@dataclass(frozen=True)
class Event:
    """A clip that may matter, with or without sightings."""

    id: UUID
    camera_id: UUID
    camera_name: str
    status: str
    start_at: datetime
    end_at: datetime
    view: View | None


@dataclass(frozen=True)
class Why:
    """One reason of a score. `weight`: its part of the score."""

    code: str
    params: dict[str, str | float | int]
    weight: float


@dataclass(frozen=True)
class Scored:
    """A score, 0 … 1, with its reasons, heaviest first."""

    score: float
    distance_m: float | None
    reasons: list[Why]


@dataclass(frozen=True)
class Candidate:
    """One event: a clip (with its best sighting, if any), or a sighting without a clip."""

    clip: Event | None
    sighting: Seen | None
    scored: Scored
    sightings: int = field(default=0)


def distance_m(a: Place, b: Place) -> float:
    """Great-circle distance in metres (haversine, mean radius)."""
    lat_a, lat_b = math.radians(a.lat), math.radians(b.lat)
    half_lat, half_lon = (lat_b - lat_a) / 2, math.radians(b.lon - a.lon) / 2
    h = math.sin(half_lat) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(half_lon) ** 2
    return 2 * _EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))


def bearing_deg(a: Place, b: Place) -> float:
    """Initial bearing from `a` to `b`, clockwise from north, 0 … 360."""
    lat_a, lat_b, lon = math.radians(a.lat), math.radians(b.lat), math.radians(b.lon - a.lon)
    y = math.sin(lon) * math.cos(lat_b)
    x = math.cos(lat_a) * math.sin(lat_b) - math.sin(lat_a) * math.cos(lat_b) * math.cos(lon)
    return math.degrees(math.atan2(y, x)) % 360


def in_view(view: View, place: Place) -> bool:
    """Whether the camera's sector covers the place."""
    if view.heading_deg is None:
        return False
    away = distance_m(view.at, place)
    if away > view.range_m:
        return False
    if away < 1:
        return True  # a bearing means nothing under the camera itself
    off = abs((bearing_deg(view.at, place) - view.heading_deg + 180) % 360 - 180)
    return off <= view.fov_deg / 2


def _gap(start_at: datetime, end_at: datetime, since: datetime, until: datetime) -> timedelta:
    """How far two spans are apart: negative when the first comes before, zero when they meet."""
    if end_at < since:
        return end_at - since
    if start_at > until:
        return start_at - until
    return timedelta(0)


def _timeliness(gap: timedelta, prior: Prior) -> float:
    """1 while it happened, half at a quarter of the window before or after, near nothing at its end."""
    window = prior.before if gap < timedelta(0) else prior.after
    return float(0.5 ** (abs(gap) / (window / 4)))


def score(
    place: Place,
    since: datetime,
    until: datetime,
    prior: Prior,
    *,
    view: View | None,
    start_at: datetime,
    end_at: datetime,
    object_class: ObjectClass | None,
    best_score: float,
) -> Scored:
    """The score of footage from `start_at` to `end_at` for an incident at `place` between `since` and `until`."""
    away = distance_m(view.at, place) if view else None
    near = 0.0 if away is None else 0.5 ** (away / prior.half_distance_m)
    gap = _gap(start_at, end_at, since, until)
    timely = _timeliness(gap, prior)
    telling = prior.classes.get(object_class, OTHER_CLASS) if object_class else OTHER_CLASS
    reasons = [_distance_reason(away, near), _time_reason(gap, timely)]
    if object_class:
        reasons.append(Why("link.class", {"class": object_class.value}, _CLASS * telling))
        reasons.append(Why("link.score", {"score": round(best_score, 2)}, _SURE * best_score))
    total = sum(reason.weight for reason in reasons)
    if view and in_view(view, place):
        raised = (1 - total) * _IN_VIEW * timely
        reasons.append(Why("link.in_view", {"range_m": round(view.range_m)}, raised))
        total += raised
    rounded = [Why(reason.code, reason.params, round(reason.weight, 4)) for reason in reasons]
    return Scored(round(min(1.0, total), 4), away, sorted(rounded, key=lambda reason: -reason.weight))


def _distance_reason(away: float | None, near: float) -> Why:
    if away is None:
        return Why("link.distance_unknown", {}, 0.0)
    return Why("link.distance", {"distance_m": round(away)}, _NEAR * near)


def _time_reason(gap: timedelta, timely: float) -> Why:
    if not gap:
        return Why("link.during", {}, _TIMELY * timely)
    code = "link.before" if gap < timedelta(0) else "link.after"
    return Why(code, {"minutes": round(abs(gap).total_seconds() / 60, 1)}, _TIMELY * timely)


def rank(
    place: Place,
    since: datetime,
    until: datetime,
    prior: Prior,
    sightings: Sequence[Seen],
    clips: Sequence[Event],
) -> list[Candidate]:
    """One candidate per event, best first: a clip carries its best sighting; a sighting stands alone without a clip."""
    by_clip: dict[UUID, list[tuple[Scored, Seen]]] = {}
    known = {clip.id: clip for clip in clips}
    found = []
    for seen in sightings:
        scored = score(
            place,
            since,
            until,
            prior,
            view=seen.view,
            start_at=seen.start_at,
            end_at=seen.end_at,
            object_class=seen.object_class,
            best_score=seen.best_score,
        )
        clip = known.get(seen.clip_id) if seen.clip_id else None
        if clip is not None and clip.camera_id == seen.camera_id:
            by_clip.setdefault(clip.id, []).append((scored, seen))
        else:
            found.append(Candidate(None, seen, scored, 1))
    for clip in clips:
        inside = by_clip.get(clip.id)
        if inside:
            best, seen = max(inside, key=lambda pair: pair[0].score)
            found.append(Candidate(clip, seen, best, len(inside)))
            continue
        bare = score(
            place,
            since,
            until,
            prior,
            view=clip.view,
            start_at=clip.start_at,
            end_at=clip.end_at,
            object_class=None,
            best_score=0.0,
        )
        found.append(Candidate(clip, None, bare))
    return sorted(found, key=lambda candidate: -candidate.scored.score)
