"""Walks an app's routes as FastAPI really serves them, with the permissions they declare."""

from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from hub.identity.guard import PERMISSION_ATTRIBUTE
from hub.identity.model import Permission


@dataclass(frozen=True)
class ServedRoute:
    """One route with one method. `permissions`: every declaration found among its dependencies."""

    method: str
    path: str
    name: str
    permissions: tuple[Permission, ...]


def served_routes(app: FastAPI) -> Iterator[ServedRoute]:
    """Each route and method of `app`."""
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        permissions = tuple(_permissions(dependant)) if isinstance(dependant, Dependant) else ()
        for method in sorted(getattr(route, "methods", None) or {"*"}):
            yield ServedRoute(method, str(getattr(route, "path", "")), str(getattr(route, "name", "")), permissions)


def faults(app: FastAPI) -> list[str]:
    """Routes that do not declare exactly one permission, in words; empty when all is well."""
    return [
        f"{route.method} {route.path} declares {len(route.permissions)} permissions"
        for route in served_routes(app)
        if len(route.permissions) != 1
    ]


def _permissions(dependant: Dependant) -> Iterator[Permission]:
    declared = getattr(dependant.call, PERMISSION_ATTRIBUTE, None)
    if isinstance(declared, Permission):
        yield declared
    for inner in dependant.dependencies:
        yield from _permissions(inner)
