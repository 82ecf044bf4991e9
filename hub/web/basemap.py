"""What is drawn under the cameras: the installation's own GeoJSON (RFC 7946). Nothing is fetched from outside."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import Field, ValidationError

from hub.context import Context, get_context
from hub.errors import Unavailable
from hub.identity.guard import requires
from hub.identity.model import Permission, Principal
from hub.kit.shapes import Answer

router = APIRouter(tags=["map"])

MAX_BYTES = 20 * 1024 * 1024


class Basemap(Answer):
    """A GeoJSON FeatureCollection, WGS-84; empty when the installation has none (the page draws a plain grid)."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[dict[str, Any]] = Field(default_factory=list)


@router.get("/basemap")
def show_basemap(
    _who: Annotated[Principal, Depends(requires(Permission.MAP_VIEW))],
    context: Annotated[Context, Depends(get_context)],
) -> Basemap:
    """The lines and areas under the cameras."""
    # A plain function: reading a file blocks, so it runs in a thread.
    return Basemap() if context.basemap_path is None else read_basemap(Path(context.basemap_path))


def read_basemap(path: Path) -> Basemap:
    """The file's features.

    Raises:
        Unavailable: `basemap.unreadable`: no such file, too large, or no FeatureCollection.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unavailable("basemap.unreadable", f"larger than {MAX_BYTES} bytes")
        plain = json.loads(path.read_bytes())
        return Basemap(type=plain["type"], features=plain["features"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise Unavailable("basemap.unreadable", type(error).__name__) from error
