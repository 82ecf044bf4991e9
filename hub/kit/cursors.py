"""Opaque page cursors: the place a page ended, signed, and bound to the question it belongs to.

A cursor that was made up, altered, or taken from another question is refused: `Invalid("page.cursor_invalid")`.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hub.errors import Forbidden, Invalid
from hub.kit.canonical import canonical_json
from hub.kit.tokens import TokenSigner

CURSOR_LIFE = timedelta(hours=24)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_CHARS = 2_000


@dataclass(frozen=True)
class Place:
    """The last row of a page in the order (time descending, id descending)."""

    at: datetime
    id: UUID


def question(**filters: Any) -> str:
    """A short fingerprint of a question; pages of another question have another."""
    return hashlib.sha256(canonical_json(filters)).hexdigest()[:16]


def make_cursor(signer: TokenSigner, of: str, place: Place) -> str:
    """The cursor that continues after `place`; `of`: `question(...)`."""
    at_us = (place.at - _EPOCH) // timedelta(microseconds=1)
    return signer.mint("cursor", {"of": of, "at": at_us, "id": str(place.id)}, CURSOR_LIFE)[0]


def read_cursor(signer: TokenSigner, of: str, cursor: str | None) -> Place | None:
    """Where the page before ended; None for the first page."""
    if not cursor:
        return None
    if len(cursor) > _MAX_CHARS:
        raise Invalid("page.cursor_invalid")
    try:
        claims = signer.check("cursor", cursor)
    except Forbidden as error:
        raise Invalid("page.cursor_invalid") from error
    if claims["of"] != of:
        raise Invalid("page.cursor_invalid", "the cursor belongs to another question")
    return Place(_EPOCH + timedelta(microseconds=claims["at"]), UUID(claims["id"]))
