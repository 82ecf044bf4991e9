"""The object store as the hub needs it: plain S3 calls every server has, no admin API.

Adapters map their client's errors to `hub.errors`: `NotFound("storage.object_missing")`, `Unavailable("storage.unavailable")`,
`Invalid("storage.refused")`.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol


class Bucket(StrEnum):
    """The hub's buckets (a settings prefix may stand before the name)."""

    CLIPS = "clips"
    PICTURES = "pictures"


@dataclass(frozen=True)
class ObjectStat:
    """An object as the store lists it."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


@dataclass(frozen=True)
class Part:
    """A part of a multi-part upload that has arrived."""

    number: int
    etag: str
    size_bytes: int = 0


class ObjectStore(Protocol):
    """Buckets of objects. All calls are safe to repeat."""

    async def ensure_buckets(self) -> None:
        """Makes the buckets that are missing."""

    async def put(self, bucket: Bucket, key: str, data: bytes, content_type: str) -> None:
        """Stores an object whole; replaces one of the same key."""

    async def get(self, bucket: Bucket, key: str) -> bytes:
        """A whole object (small ones: pictures)."""

    async def read(self, bucket: Bucket, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Bytes [`offset`, `offset + length`) in chunks; the request is made first, so that errors raise here."""
        ...

    async def stat(self, bucket: Bucket, key: str) -> ObjectStat | None:
        """The object's size and tag, or None."""

    async def delete(self, bucket: Bucket, key: str) -> None:
        """Removes an object; none there is no error."""

    async def list(self, bucket: Bucket, prefix: str = "") -> Sequence[ObjectStat]:
        """Every object below `prefix`."""

    async def begin_upload(self, bucket: Bucket, key: str, content_type: str) -> str:
        """Begins a multi-part upload; its id."""

    async def presign_part(self, bucket: Bucket, key: str, upload_id: str, number: int, life: timedelta) -> str:
        """A URL one can PUT part `number` to, without credentials, until `life` is over."""

    async def uploaded_parts(self, bucket: Bucket, key: str, upload_id: str) -> Sequence[Part]:
        """Parts that have arrived. `NotFound("storage.upload_missing")` if the upload is over or unknown."""

    async def complete_upload(self, bucket: Bucket, key: str, upload_id: str, parts: Sequence[Part]) -> ObjectStat:
        """Joins the parts into the object."""

    async def abort_upload(self, bucket: Bucket, key: str, upload_id: str) -> None:
        """Drops an upload and its parts; none there is no error."""

    async def open_uploads(self, bucket: Bucket, older_than: timedelta) -> Sequence[tuple[str, str]]:
        """Key and id of uploads begun longer ago than `older_than` and never ended. A server that sweeps them by itself
        (MinIO, after a day) may name none."""

    async def ping(self) -> None:
        """Raises `Unavailable` unless the store answers."""
