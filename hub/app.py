"""The HTTP application: every feature's routes under /api/v1, and the page.

`create_app` gets all it needs handed in; who builds the context (settings, adapters) is `hub.cli` and `hub.worker`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse

import hub.agents.api
import hub.alarms.api
import hub.cameras.api
import hub.clips.api
import hub.identity.api
import hub.incidents.api
import hub.ingest.api
import hub.ledger.api
import hub.live.api
import hub.search.api
import hub.sightings.api
import hub.web.basemap
import hub.web.health
from hub.context import Context
from hub.identity.guard import CSRF_HEADER, SESSION_COOKIE, WITHOUT_SESSION, open_to
from hub.identity.model import Permission
from hub.live.service import LiveHub
from hub.web import problem
from hub.web.boundary import Boundary
from hub.web.page import page_router
from hub.web.routes import faults, served_routes

API = "/api/v1"

ROUTERS: tuple[APIRouter, ...] = (
    hub.identity.api.router,
    hub.agents.api.router,
    hub.cameras.api.router,
    hub.search.api.router,
    hub.sightings.api.router,
    hub.clips.api.router,
    hub.live.api.router,
    hub.incidents.api.router,
    hub.ingest.api.router,
    hub.alarms.api.router,
    hub.ledger.api.router,
    hub.web.basemap.router,
    hub.web.health.router,
)


def create_app(context: Context, *, live: LiveHub | None = None) -> FastAPI:
    """The app over `context`. `live` None: no live pictures (503 `live.disabled`); else it starts and ends with the app."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if live is not None:
            await live.start()
        yield
        if live is not None:
            await live.close()

    app = FastAPI(
        title="平安黔哨 Hub",
        version="1",
        description="Residents' own cameras, connected by consent, searchable with a purpose, provable as evidence.",
        # The document is served by a route of our own with a declared permission; the viewers load from outside.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        lifespan=lifespan,
    )
    app.state.context = context
    app.state.live = live
    app.add_middleware(Boundary, hsts=context.cookie_secure)
    problem.install(app)
    for router in ROUTERS:
        app.include_router(router, prefix=API, responses=problem.RESPONSES)
    _serve_openapi(app)
    app.include_router(page_router())
    # Deny by default: an app with a route that nobody guards does not start.
    if found := faults(app):
        raise RuntimeError("; ".join(found))
    return app


def _operation_id(route: APIRoute) -> str:
    """The function's name: short, and stable as long as nobody renames it. A test holds them unique."""
    return route.name


def _serve_openapi(app: FastAPI) -> None:
    document: dict[str, Any] = {}
    app.openapi = partial(openapi_document, app)  # type: ignore[method-assign]  # FastAPI's own way to extend it

    @app.get(f"{API}/openapi.json", include_in_schema=False, dependencies=[Depends(open_to(Permission.PUBLIC))])
    async def show_openapi() -> JSONResponse:
        if not document:
            document.update(openapi_document(app))
        return JSONResponse(document)


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document, with problems and the session's two credentials declared."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version="3.1.0"
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = problem.schema()
    components["securitySchemes"] = {
        "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
        "csrf": {"type": "apiKey", "in": "header", "name": CSRF_HEADER},
    }
    document["security"] = [{"session": [], "csrf": []}]
    _declare_permissions(app, document)
    return document


def _declare_permissions(app: FastAPI, document: dict[str, Any]) -> None:
    """Each operation says whom it is for: `x-permission`; those without a session say so, too."""
    for route in served_routes(app):
        operation = document["paths"].get(route.path, {}).get(route.method.lower())
        if operation is None:
            continue
        (permission,) = route.permissions
        operation["x-permission"] = permission.value
        if permission in WITHOUT_SESSION:
            operation["security"] = []
