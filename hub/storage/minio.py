"""The object store through the `minio` client: any S3 server, plain calls only.

The client is blocking: it runs on threads of this adapter's own, never the loop's default executor, so that a slow store
holds up nothing else. Its errors become `hub.errors` here and nowhere else.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import minio
import urllib3
from minio.datatypes import Part as ClientPart
from minio.error import InvalidResponseError, S3Error, ServerError

from hub.errors import HubError, Invalid, NotFound, Unavailable
from hub.storage.port import Bucket, ObjectStat, Part

THREADS = 16
CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 30.0
CHUNK_BYTES = 256 * 1024

T = TypeVar("T")
_Words = dict[str, str | list[str] | tuple[str]]  # as the client types headers and queries

_MISSING = frozenset({"NoSuchKey", "NoSuchObject", "ResourceNotFound"})
_UPLOAD_MISSING = frozenset({"NoSuchUpload"})
_TRANSIENT = frozenset({"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "NoSuchBucket"})


def _mapped(error: S3Error) -> HubError:
    if error.code in _UPLOAD_MISSING:
        return NotFound("storage.upload_missing")
    if error.code in _MISSING:
        return NotFound("storage.object_missing", str(error.object_name))
    if error.code in _TRANSIENT:
        return Unavailable("storage.unavailable", str(error.code))
    return Invalid("storage.refused", f"{error.code}: {error.message}")


class MinioStore:
    """An `ObjectStore` on an S3 endpoint. `bucket_prefix` stands before every bucket's name."""

    def __init__(
        self,
        endpoint: str,
        access_key: str,
        secret_key: str,
        *,
        region: str = "us-east-1",
        bucket_prefix: str = "",
        public_endpoint: str = "",
    ) -> None:
        """`endpoint` with scheme; `public_endpoint`: as those reach it to whom URLs are given (default: the same)."""
        self._http = urllib3.PoolManager(
            maxsize=THREADS,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            # Two short tries; longer outages are the caller's to wait out, with the error in hand.
            retries=urllib3.Retry(total=2, backoff_factor=0.1, status_forcelist=(500, 502, 503, 504)),
        )
        # Presigning makes no request as long as the region is given.
        self._client, self._signer = (
            minio.Minio(
                url.partition("://")[2],
                access_key=access_key,
                secret_key=secret_key,
                secure=url.startswith("https://"),
                region=region,
                http_client=self._http,
            )
            for url in (endpoint, public_endpoint or endpoint)
        )
        self._prefix = bucket_prefix
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")

    def bucket_name(self, bucket: Bucket) -> str:
        """The bucket's name at the server."""
        return f"{self._prefix}{bucket}"

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except S3Error as error:
            raise _mapped(error) from error
        except (ServerError, InvalidResponseError, urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable("storage.unavailable", type(error).__name__) from error
        except ValueError as error:  # the client's own checks of names and sizes
            raise Invalid("storage.refused", str(error)) from error

    async def ensure_buckets(self) -> None:
        """See `ObjectStore`."""

        def call() -> None:
            for bucket in Bucket:
                name = self.bucket_name(bucket)
                if self._client.bucket_exists(name):
                    continue
                try:
                    self._client.make_bucket(name)
                except S3Error as error:  # another replica was first
                    if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                        raise

        await self._run(call)

    async def put(self, bucket: Bucket, key: str, data: bytes, content_type: str) -> None:
        """See `ObjectStore`."""
        name = self.bucket_name(bucket)
        await self._run(lambda: self._client.put_object(name, key, io.BytesIO(data), len(data), content_type))

    async def get(self, bucket: Bucket, key: str) -> bytes:
        """See `ObjectStore`."""

        def call() -> bytes:
            response = self._client.get_object(self.bucket_name(bucket), key)
            try:
                return bytes(response.read())
            finally:
                response.release_conn()

        return await self._run(call)

    async def read(self, bucket: Bucket, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """See `ObjectStore`."""
        if length == 0:
            return _nothing()
        # `length=0` is the client's word for "to the end".
        name = self.bucket_name(bucket)
        response = await self._run(lambda: self._client.get_object(name, key, offset, length or 0))
        return self._chunks(response)

    async def _chunks(self, response: Any) -> AsyncIterator[bytes]:
        whole = False
        try:
            while chunk := await self._run(lambda: response.read(CHUNK_BYTES)):
                yield bytes(chunk)
            whole = True
        finally:
            if whole:
                response.release_conn()
            else:  # a viewer left in the middle: the connection still carries the rest, it cannot be used again
                response.close()

    async def stat(self, bucket: Bucket, key: str) -> ObjectStat | None:
        """See `ObjectStore`."""
        try:
            found = await self._run(lambda: self._client.stat_object(self.bucket_name(bucket), key))
        except NotFound:
            return None
        return _stat(found)

    async def delete(self, bucket: Bucket, key: str) -> None:
        """See `ObjectStore`."""
        with suppress(NotFound):
            await self._run(lambda: self._client.remove_object(self.bucket_name(bucket), key))

    async def list(self, bucket: Bucket, prefix: str = "") -> Sequence[ObjectStat]:
        """See `ObjectStore`."""

        def call() -> Sequence[ObjectStat]:
            found = self._client.list_objects(self.bucket_name(bucket), prefix=prefix, recursive=True)
            return [_stat(item) for item in found if not item.is_dir]

        return await self._run(call)

    # Multi-part uploads. The client only offers whole uploads of a local file; ours come from agents, part by part and over
    # days, by presigned URLs. So the steps are taken one by one with the client's own lower-level methods: the underscore
    # says that they are not promised, not that they are wrong; pyproject fixes the major version, and the contract suite
    # runs every one.

    async def begin_upload(self, bucket: Bucket, key: str, content_type: str) -> str:
        """See `ObjectStore`."""
        name = self.bucket_name(bucket)
        headers: _Words = {"Content-Type": content_type}
        upload_id: str = await self._run(lambda: self._client._create_multipart_upload(name, key, headers))
        return upload_id

    async def presign_part(self, bucket: Bucket, key: str, upload_id: str, number: int, life: timedelta) -> str:
        """See `ObjectStore`. The public method: part and upload are signed query parameters like others."""
        query: _Words = {"uploadId": upload_id, "partNumber": str(number)}
        name = self.bucket_name(bucket)
        url: str = await self._run(
            lambda: self._signer.get_presigned_url("PUT", name, key, life, extra_query_params=query)
        )
        return url

    async def uploaded_parts(self, bucket: Bucket, key: str, upload_id: str) -> Sequence[Part]:
        """See `ObjectStore`."""

        def call() -> Sequence[Part]:
            parts: list[Part] = []
            marker: str | None = None
            while True:
                page = self._client._list_parts(self.bucket_name(bucket), key, upload_id, part_number_marker=marker)
                parts += [Part(part.part_number, _bare(part.etag), part.size or 0) for part in page.parts]
                if not page.is_truncated:
                    return parts
                marker = str(page.next_part_number_marker)

        return await self._run(call)

    async def complete_upload(self, bucket: Bucket, key: str, upload_id: str, parts: Sequence[Part]) -> ObjectStat:
        """See `ObjectStore`."""
        name = self.bucket_name(bucket)
        listed = [ClientPart(part.number, _bare(part.etag)) for part in sorted(parts, key=lambda part: part.number)]

        def call() -> ObjectStat:
            self._client._complete_multipart_upload(name, key, upload_id, listed)
            return _stat(self._client.stat_object(name, key))

        return await self._run(call)

    async def abort_upload(self, bucket: Bucket, key: str, upload_id: str) -> None:
        """See `ObjectStore`."""
        name = self.bucket_name(bucket)
        with suppress(NotFound):
            await self._run(lambda: self._client._abort_multipart_upload(name, key, upload_id))

    async def open_uploads(self, bucket: Bucket, older_than: timedelta) -> Sequence[tuple[str, str]]:
        """Key and id of each multi-part upload that was begun longer ago than `older_than`."""
        before = datetime.now(UTC) - older_than

        def call() -> Sequence[tuple[str, str]]:
            page = self._client._list_multipart_uploads(self.bucket_name(bucket))
            return [
                (str(upload.object_name), str(upload.upload_id))
                for upload in page.uploads
                if upload.initiated_time is not None and upload.initiated_time < before
            ]

        return await self._run(call)

    async def ping(self) -> None:
        """See `ObjectStore`."""
        await self._run(lambda: self._client.bucket_exists(self.bucket_name(Bucket.CLIPS)))

    async def close(self) -> None:
        """Closes connections and ends the threads once what runs has ended."""
        await asyncio.to_thread(self._threads.shutdown, wait=True)
        self._http.clear()


def _bare(etag: str | None) -> str:
    return (etag or "").strip('"')


def _stat(found: Any) -> ObjectStat:
    modified = found.last_modified or datetime.now(UTC)
    return ObjectStat(str(found.object_name), int(found.size or 0), _bare(found.etag), modified.astimezone(UTC))


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
