"""HTTP of incidents and their links."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from hub.context import Context, get_context
from hub.identity.guard import requires
from hub.identity.model import Permission, Principal
from hub.incidents import service
from hub.incidents.model import Facts, Incident
from hub.incidents.schemas import (
    IncidentNew,
    IncidentPage,
    IncidentPatch,
    IncidentView,
    LinkDecision,
    ProposedLink,
    ProposedLinks,
    Reason,
)
from hub.kit.cursors import make_cursor, question, read_cursor
from hub.kit.shapes import Position, UtcTime
from hub.sightings.service import picture_url
from models.wire.base import Box

router = APIRouter(tags=["incidents"])

Ctx = Annotated[Context, Depends(get_context)]
Viewer = Annotated[Principal, Depends(requires(Permission.INCIDENT_VIEW))]
Editor = Annotated[Principal, Depends(requires(Permission.INCIDENT_EDIT))]
Kind = Literal["clip", "sighting"]


def _view(found: Incident) -> IncidentView:
    fields: dict[str, Any] = {name: getattr(found, name) for name in Incident.__dataclass_fields__}
    fields["position"] = {"lon": found.lon, "lat": found.lat}
    return IncidentView.model_validate(fields)


@router.get("/incidents")
async def list_incidents(
    _who: Viewer,
    context: Ctx,
    status: Literal["open", "closed"] | None = None,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 40,
) -> IncidentPage:
    """Incidents, newest first."""
    of = question(kind="incidents", status=status or "")
    after = read_cursor(context.signer, of, cursor)
    async with context.db.transaction() as tx:
        items, following = await service.page(tx, status, after, limit)
    return IncidentPage(
        items=[_view(one) for one in items],
        next_cursor=make_cursor(context.signer, of, following) if following else None,
    )


@router.post("/incidents", status_code=201)
async def create_incident(ask: IncidentNew, who: Editor, context: Ctx) -> IncidentView:
    """A new incident with the day's next number."""
    facts = Facts(
        ask.category, ask.title, ask.note, ask.position.lon, ask.position.lat, ask.occurred_from, ask.occurred_to
    )
    async with context.db.transaction() as tx:
        return _view(await service.create(tx, who, facts, context.clock()))


@router.get("/incidents/{incident_id}")
async def show_incident(incident_id: UUID, _who: Viewer, context: Ctx) -> IncidentView:
    """One incident."""
    async with context.db.transaction() as tx:
        return _view(await service.incident(tx, incident_id))


@router.patch("/incidents/{incident_id}")
async def change_incident(incident_id: UUID, ask: IncidentPatch, who: Editor, context: Ctx) -> IncidentView:
    """Changes what is given, and leaves the rest."""
    async with context.db.transaction() as tx:
        old = service.facts_of(await service.incident(tx, incident_id, lock=True))
        facts = Facts(
            category=ask.category or old.category,
            title=old.title if ask.title is None else ask.title,
            note=old.note if ask.note is None else ask.note,
            lon=ask.position.lon if ask.position else old.lon,
            lat=ask.position.lat if ask.position else old.lat,
            occurred_from=ask.occurred_from or old.occurred_from,
            occurred_to=ask.occurred_to or old.occurred_to,
        )
        return _view(await service.change(tx, who, incident_id, facts, ask.status, context.clock()))


def _link(link: service.Link, context: Context, who: Principal, seq: int) -> ProposedLink:
    candidate = link.candidate
    kind, target_id, _ = service.target_of(candidate)
    half, seen, clip = service.camera_of(candidate), candidate.sighting, candidate.clip
    picture = picture_url(context.signer, seen.id, seen.start_at, seen.picture_key, who.user_id, seq) if seen else None
    return ProposedLink(
        target_kind=kind,
        target_id=target_id,
        camera_id=half.camera_id,
        camera_name=half.camera_name,
        position=Position(lon=half.view.at.lon, lat=half.view.at.lat) if half.view else None,
        object_class=seen.object_class if seen else None,
        start_at=half.start_at,
        end_at=half.end_at,
        best_box=Box.model_validate(seen.best_box) if seen else None,
        picture_url=picture,
        clip_id=clip.id if clip else None,
        clip_status=clip.status if clip else None,
        score=candidate.scored.score,
        distance_m=candidate.scored.distance_m,
        reasons=[Reason(code=why.code, params=why.params, weight=why.weight) for why in candidate.scored.reasons],
        decision=link.decision,
    )


@router.get("/incidents/{incident_id}/links")
async def proposed_links(
    incident_id: UUID, who: Annotated[Principal, Depends(requires(Permission.SEARCH))], context: Ctx
) -> ProposedLinks:
    """Footage that may belong to the incident, best first, each with its reasons. Writes a ledger row."""
    async with context.db.transaction() as tx:
        found = await service.links(tx, who, incident_id, context.clock())
    return ProposedLinks(
        items=[_link(link, context, who, found.ledger_seq) for link in found.items],
        considered=found.considered,
        radius_m=found.prior.radius_m,
        from_at=found.from_at,
        to_at=found.to_at,
        classes=list(found.prior.classes),
    )


@router.put("/incidents/{incident_id}/links/{target_kind}/{target_id}", status_code=204)
async def decide_link(
    incident_id: UUID,
    target_kind: Kind,
    target_id: UUID,
    ask: LinkDecision,
    who: Editor,
    context: Ctx,
    start_at: UtcTime | None = None,
) -> Response:
    """Confirms or rejects a link. `start_at` finds a sighting outside the incident's own window."""
    async with context.db.transaction() as tx:
        await service.decide(
            tx, who, incident_id, target_kind, target_id, ask.decision, start_at=start_at, now=context.clock()
        )
    return Response(status_code=204)


@router.delete("/incidents/{incident_id}/links/{target_kind}/{target_id}", status_code=204)
async def undo_link(incident_id: UUID, target_kind: Kind, target_id: UUID, who: Editor, context: Ctx) -> Response:
    """Takes a decision back."""
    async with context.db.transaction() as tx:
        await service.undo(tx, who, incident_id, target_kind, target_id, context.clock())
    return Response(status_code=204)
