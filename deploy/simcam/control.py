"""The site's control over HTTP, on loopback: what there is, and faults on command.

GET /                       the site's state
GET /cameras/{i}            one camera's state, with its clients and clock
POST /cameras/{i}/faults    {"kind": "drop", "seconds": 5} — see faults.py for every kind
"""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from pydantic import ValidationError

from deploy.simcam.faults import FAULTS, Fault
from deploy.simcam.webserver import WebRequest, WebResponse

_ROUTE = re.compile(r"/cameras/([0-9]{1,4})(/faults)?")


class Controlled(Protocol):
    """What the control needs of a site."""

    def state(self) -> dict[str, Any]:
        """All cameras."""

    def camera_state(self, index: int) -> dict[str, Any]:
        """One camera; IndexError when there is none."""

    @property
    def fault(self) -> Callable[[int, Fault], Awaitable[None]]:
        """Makes a fault happen."""


def handler(site: Controlled) -> Callable[[WebRequest], Awaitable[WebResponse]]:
    """The control's request handler for `site`."""

    async def handle(request: WebRequest) -> WebResponse:
        if request.path == "/" and request.method == "GET":
            return _json(200, site.state())
        match = _ROUTE.fullmatch(request.path)
        if match is None:
            return _json(404, {"error": "no such path"})
        try:
            index = int(match[1])
            if match[2] and request.method == "POST":
                await site.fault(index, FAULTS.validate_json(request.body))
            elif match[2] or request.method != "GET":
                return _json(405, {"error": "method not allowed"})
            return _json(200, site.camera_state(index))
        except IndexError:
            return _json(404, {"error": "no such camera"})
        except ValidationError as error:
            return _json(422, {"error": json.loads(error.json(include_url=False, include_input=False))})

    return handle


def _json(status: int, value: object) -> WebResponse:
    return WebResponse(status, json.dumps(value, ensure_ascii=False).encode(), "application/json")
