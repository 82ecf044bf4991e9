"""HTTP of search: sightings, their counts by hour, one of them, and those of a clip."""

import math
import time
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError

from hub.context import Context, get_context
from hub.errors import Invalid
from hub.identity.guard import requires
from hub.identity.model import Permission, Principal
from hub.kit.cursors import make_cursor, question, read_cursor
from hub.kit.shapes import UtcTime
from hub.search import service
from hub.search.model import Wanted
from hub.search.schemas import Histogram, HourCount, SearchAsk, SearchPage, SightingDetail, SightingHit
from hub.sightings.model import Sighting
from hub.sightings.service import picture_url
from models.vocabulary import Colour, ObjectClass

router = APIRouter(tags=["search"])

Ctx = Annotated[Context, Depends(get_context)]
Searcher = Annotated[Principal, Depends(requires(Permission.SEARCH))]


def read_area(text: str) -> list[tuple[float, float]]:
    """A polygon from "lon,lat;lon,lat;…". Raises `Invalid("search.area_invalid")`."""
    if not text.strip():
        return []
    corners = []
    for corner in text.strip(" ;").split(";")[:201]:
        try:
            lon, lat = (float(figure) for figure in corner.split(","))
        except ValueError as error:
            raise Invalid("search.area_invalid", "an area is lon,lat;lon,lat;…") from error
        if not (math.isfinite(lon) and math.isfinite(lat) and abs(lon) <= 180 and abs(lat) <= 90):
            raise Invalid("search.area_invalid", "a corner lies outside the earth")
        corners.append((lon, lat))
    if len(set(corners)) < 3 or len(corners) > 200:
        raise Invalid("search.area_invalid", "a polygon has three corners or more, and at most 200")
    return corners


def search_ask(
    from_at: UtcTime,
    to_at: UtcTime,
    camera_ids: Annotated[list[UUID], Query(max_length=500)] = [],  # noqa: B006 - FastAPI copies it
    classes: Annotated[list[ObjectClass], Query(max_length=32)] = [],  # noqa: B006
    colours: Annotated[list[Colour], Query(max_length=32)] = [],  # noqa: B006
    area: Annotated[str, Query(max_length=10_000, description="lon,lat;lon,lat;… (WGS-84)")] = "",
    zone: Annotated[str | None, Query(max_length=60)] = None,
    min_duration_ms: Annotated[int | None, Query(ge=0, le=86_400_000)] = None,
    min_score: Annotated[float | None, Query(ge=0, le=1)] = None,
    q: Annotated[str, Query(max_length=200)] = "",
) -> SearchAsk:
    """The filters from the query string."""
    fields: dict[str, Any] = {
        "from_at": from_at,
        "to_at": to_at,
        "camera_ids": camera_ids,
        "classes": classes,
        "colours": colours,
        "area": read_area(area),
        "zone": zone or None,
        "min_duration_ms": min_duration_ms,
        "min_score": min_score,
        "q": q.replace("\x00", " "),
    }
    if zone and "\x00" in zone:
        raise Invalid("request.invalid", "zone")
    try:
        return SearchAsk(**fields)
    except ValidationError as error:
        raise Invalid("request.invalid", str(error.errors(include_input=False, include_url=False)[0])) from error


Asked = Annotated[SearchAsk, Depends(search_ask)]


def _wanted(ask: SearchAsk) -> Wanted:
    return Wanted(
        from_at=ask.from_at,
        to_at=ask.to_at,
        camera_ids=tuple(ask.camera_ids) or None,
        classes=tuple(ask.classes) or None,
        colours=tuple(ask.colours) or None,
        area=tuple(ask.area) or None,
        zone=ask.zone,
        min_duration_ms=ask.min_duration_ms,
        min_score=ask.min_score,
    )


def _hit_fields(one: Sighting, context: Context, who: Principal, seq: int) -> dict[str, Any]:
    fields = {name: getattr(one, name) for name in Sighting.__dataclass_fields__}
    fields["position"] = None if one.lon is None or one.lat is None else {"lon": one.lon, "lat": one.lat}
    fields["picture_url"] = picture_url(context.signer, one.id, one.start_at, one.picture_key, who.user_id, seq)
    return fields


@router.get("/search/sightings")
async def search_sightings(
    ask: Asked,
    who: Searcher,
    context: Ctx,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 40,
) -> SearchPage:
    """Sightings, newest first, by keyset pages. Writes a ledger row per page."""
    started = time.perf_counter()
    of = question(kind="sightings", ask=ask.model_dump(mode="json", exclude={"min_score"}), score=str(ask.min_score))
    after = read_cursor(context.signer, of, cursor)
    async with context.db.transaction() as tx:
        found = await service.find(tx, who, _wanted(ask), ask.q, after, limit, context.clock())
    return SearchPage(
        items=[SightingHit.model_validate(_hit_fields(one, context, who, found.ledger_seq)) for one in found.items],
        next_cursor=make_cursor(context.signer, of, found.following) if found.following else None,
        took_ms=round((time.perf_counter() - started) * 1000, 2),
        understood=found.reading.understood,
        ignored=found.reading.rest,
    )


@router.get("/search/histogram")
async def search_histogram(ask: Asked, who: Searcher, context: Ctx) -> Histogram:
    """Counts of what the same filters find, by hour, class and camera. Writes a ledger row."""
    async with context.db.transaction() as tx:
        counts = await service.count(tx, who, _wanted(ask), ask.q, context.clock())
    return Histogram(
        hours=[HourCount(hour=hour, count=n) for hour, n in sorted(counts.by_hour.items())],
        total=counts.total,
        by_class=counts.by_class,
        by_camera={str(camera): n for camera, n in counts.by_camera.items()},
    )


@router.get("/sightings/{sighting_id}")
async def show_sighting(sighting_id: UUID, start_at: UtcTime, who: Searcher, context: Ctx) -> SightingDetail:
    """One sighting with its path. Writes a ledger row."""
    async with context.db.transaction() as tx:
        one, seq = await service.look(tx, who, sighting_id, start_at, context.clock())
    return SightingDetail.model_validate(_hit_fields(one, context, who, seq))


@router.get("/clips/{clip_id}/sightings")
async def clip_sightings(
    clip_id: UUID, who: Annotated[Principal, Depends(requires(Permission.PLAY))], context: Ctx
) -> list[SightingDetail]:
    """The sightings of a clip with their paths, in the order they start: what a player draws. Writes one ledger row."""
    async with context.db.transaction() as tx:
        found, seq = await service.look_at_clip(tx, who, clip_id, context.clock())
    return [SightingDetail.model_validate(_hit_fields(one, context, who, seq)) for one in found]
