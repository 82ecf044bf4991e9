"""What every object store must do for the hub.

Run against SeaweedFS, and against MinIO where QIANSHAO_TEST_MINIO names its binary.
"""

import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from hub.embedded.ports import choose
from hub.errors import Invalid, NotFound, Unavailable
from hub.storage.minio import MinioStore
from hub.storage.port import Bucket, ObjectStore, Part
from tests.servers import TestServers, drop_buckets, store_of, wait_until

PART = 5 * 1024 * 1024  # the smallest part S3 allows but for the last
LIFE = timedelta(minutes=5)


@pytest.fixture(scope="module")
def minio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = os.environ.get("QIANSHAO_TEST_MINIO")
    if not binary:
        pytest.skip("QIANSHAO_TEST_MINIO names no MinIO binary")
    folder = tmp_path_factory.mktemp("minio")
    ports = choose(folder / "ports.json", ("api", "console"))
    as_nobody = {"user": "nobody", "group": "nogroup", "extra_groups": ()} if os.geteuid() == 0 else {}
    data = Path(subprocess.check_output(["mktemp", "-d", "/tmp/qs-minio-XXXXXX"], text=True).strip())
    if as_nobody:
        subprocess.run(["chown", "nobody", str(data)], check=True)
    process = subprocess.Popen(
        [
            binary,
            "server",
            "--address",
            f"127.0.0.1:{ports['api']}",
            "--console-address",
            f"127.0.0.1:{ports['console']}",
            ".",
        ],
        cwd=data,
        env={
            "MINIO_ROOT_USER": "tester",
            "MINIO_ROOT_PASSWORD": "tester-secret",
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "HOME": str(data),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **as_nobody,  # type: ignore[call-overload]
    )
    yield f"http://127.0.0.1:{ports['api']}"
    process.terminate()
    process.wait(10)
    subprocess.run(["rm", "-rf", "--", str(data)], check=True)


@pytest_asyncio.fixture(loop_scope="session", params=["seaweedfs", "minio"])
async def store(request: pytest.FixtureRequest, servers: TestServers) -> AsyncIterator[MinioStore]:
    prefix = f"c{secrets.token_hex(5)}-"
    if request.param == "seaweedfs":
        made = store_of(servers, prefix)
    else:
        made = MinioStore(request.getfixturevalue("minio_url"), "tester", "tester-secret", bucket_prefix=prefix)
    await wait_until(lambda: _made_buckets(made))
    yield made
    if request.param == "seaweedfs":
        await drop_buckets(made)
    await made.close()


async def _made_buckets(store: ObjectStore) -> bool:
    try:
        await store.ensure_buckets()
    except Unavailable:
        return False
    return True


async def _drain(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def _begun(store: ObjectStore, key: str) -> str:
    return await store.begin_upload(Bucket.CLIPS, key, "video/mp4")


async def _put_part(store: ObjectStore, key: str, upload: str, number: int, data: bytes) -> Part:
    url = await store.presign_part(Bucket.CLIPS, key, upload, number, LIFE)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.put(url, content=data)
    assert answer.status_code == 200, answer.text
    return Part(number, answer.headers["ETag"])


async def test_buckets_can_be_ensured_twice(store: MinioStore) -> None:
    await store.ensure_buckets()
    await store.ping()


async def test_an_object_comes_back_as_it_was_put(store: MinioStore) -> None:
    data = secrets.token_bytes(300_000)
    await store.put(Bucket.PICTURES, "a/b/c.jpg", data, "image/jpeg")
    assert await store.get(Bucket.PICTURES, "a/b/c.jpg") == data
    stat = await store.stat(Bucket.PICTURES, "a/b/c.jpg")
    assert stat is not None
    assert (stat.key, stat.size_bytes) == ("a/b/c.jpg", len(data))
    assert stat.modified_at.tzinfo is not None


async def test_an_object_is_replaced_whole(store: MinioStore) -> None:
    await store.put(Bucket.PICTURES, "k", b"first, and longer", "image/jpeg")
    await store.put(Bucket.PICTURES, "k", b"second", "image/jpeg")
    assert await store.get(Bucket.PICTURES, "k") == b"second"


async def test_an_empty_object_is_an_object(store: MinioStore) -> None:
    await store.put(Bucket.PICTURES, "empty", b"", "image/jpeg")
    assert await store.get(Bucket.PICTURES, "empty") == b""


@pytest.mark.parametrize(("offset", "length"), [(0, None), (0, 10), (100, 1000), (999_000, None), (999_999, 1), (5, 0)])
async def test_ranges_are_exact(store: MinioStore, offset: int, length: int | None) -> None:
    data = bytes(range(256)) * 3906 + bytes(64)
    assert len(data) == 1_000_000
    await store.put(Bucket.CLIPS, "ranged", data, "video/mp4")
    end = len(data) if length is None else offset + length
    assert await _drain(await store.read(Bucket.CLIPS, "ranged", offset, length)) == data[offset:end]


async def test_a_reader_may_leave_in_the_middle(store: MinioStore) -> None:
    await store.put(Bucket.CLIPS, "long", bytes(3_000_000), "video/mp4")
    for _ in range(40):  # more often than the pool has connections
        chunks = await store.read(Bucket.CLIPS, "long")
        assert await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
    assert len(await store.get(Bucket.CLIPS, "long")) == 3_000_000


async def test_what_is_not_there_is_said_so(store: MinioStore) -> None:
    assert await store.stat(Bucket.CLIPS, "none") is None
    with pytest.raises(NotFound) as missing:
        await store.get(Bucket.CLIPS, "none")
    assert missing.value.code == "storage.object_missing"
    with pytest.raises(NotFound):
        await store.read(Bucket.CLIPS, "none")
    await store.delete(Bucket.CLIPS, "none")


async def test_deleting_removes(store: MinioStore) -> None:
    await store.put(Bucket.CLIPS, "gone", b"x", "video/mp4")
    await store.delete(Bucket.CLIPS, "gone")
    assert await store.stat(Bucket.CLIPS, "gone") is None


async def test_listing_knows_every_object_below_a_prefix(store: MinioStore) -> None:
    for key in ("a/1", "a/b/2", "ab/3", "z"):
        await store.put(Bucket.PICTURES, key, key.encode(), "image/jpeg")
    assert sorted(found.key for found in await store.list(Bucket.PICTURES)) == ["a/1", "a/b/2", "ab/3", "z"]
    assert sorted(found.key for found in await store.list(Bucket.PICTURES, "a/")) == ["a/1", "a/b/2"]


async def test_parts_sent_in_any_order_become_one_object(store: MinioStore) -> None:
    one, two, three = secrets.token_bytes(PART), secrets.token_bytes(PART), secrets.token_bytes(1000)
    upload = await _begun(store, "clip.mp4")
    parts = [await _put_part(store, "clip.mp4", upload, n, data) for n, data in ((3, three), (1, one), (2, two))]
    listed = await store.uploaded_parts(Bucket.CLIPS, "clip.mp4", upload)
    assert [(part.number, part.size_bytes) for part in listed] == [(1, PART), (2, PART), (3, 1000)]
    stat = await store.complete_upload(Bucket.CLIPS, "clip.mp4", upload, parts)
    assert stat.size_bytes == 2 * PART + 1000
    assert await store.get(Bucket.CLIPS, "clip.mp4") == one + two + three


async def test_a_part_sent_again_replaces_the_first(store: MinioStore) -> None:
    upload = await _begun(store, "again.mp4")
    await _put_part(store, "again.mp4", upload, 1, b"cut off in the mid")
    part = await _put_part(store, "again.mp4", upload, 1, b"whole")
    await store.complete_upload(Bucket.CLIPS, "again.mp4", upload, [part])
    assert await store.get(Bucket.CLIPS, "again.mp4") == b"whole"


async def test_an_upload_that_is_over_or_unknown_is_said_so(store: MinioStore) -> None:
    upload = await _begun(store, "over.mp4")
    part = await _put_part(store, "over.mp4", upload, 1, b"data")
    await store.complete_upload(Bucket.CLIPS, "over.mp4", upload, [part])
    with pytest.raises(NotFound) as over:
        await store.uploaded_parts(Bucket.CLIPS, "over.mp4", upload)
    assert over.value.code == "storage.upload_missing"


async def test_an_aborted_upload_leaves_nothing(store: MinioStore) -> None:
    upload = await _begun(store, "aborted.mp4")
    await _put_part(store, "aborted.mp4", upload, 1, b"data")
    await store.abort_upload(Bucket.CLIPS, "aborted.mp4", upload)
    await store.abort_upload(Bucket.CLIPS, "aborted.mp4", upload)
    with pytest.raises(NotFound):
        await store.uploaded_parts(Bucket.CLIPS, "aborted.mp4", upload)
    assert await store.stat(Bucket.CLIPS, "aborted.mp4") is None


async def test_a_wrong_part_tag_is_refused(store: MinioStore) -> None:
    upload = await _begun(store, "wrong.mp4")
    await _put_part(store, "wrong.mp4", upload, 1, b"data")
    with pytest.raises(Invalid):
        await store.complete_upload(Bucket.CLIPS, "wrong.mp4", upload, [Part(1, "0" * 32)])


async def test_open_uploads_are_listed_by_age(store: MinioStore, request: pytest.FixtureRequest) -> None:
    upload = await _begun(store, "forgotten.mp4")
    await _put_part(store, "forgotten.mp4", upload, 1, b"data")
    found = await store.open_uploads(Bucket.CLIPS, timedelta(seconds=-60))
    sweeps_itself = "minio" in request.node.name  # and lists uploads of one exact key only
    assert [key for key, _ in found] == ([] if sweeps_itself else ["forgotten.mp4"])
    for key, upload_id in found:
        await store.abort_upload(Bucket.CLIPS, key, upload_id)
    assert await store.open_uploads(Bucket.CLIPS, timedelta(seconds=-60)) == []
    assert await store.open_uploads(Bucket.CLIPS, timedelta(days=1)) == []


async def test_a_url_is_good_for_its_part_alone(store: MinioStore) -> None:
    upload = await _begun(store, "mine.mp4")
    url = await store.presign_part(Bucket.CLIPS, "mine.mp4", upload, 1, LIFE)
    async with httpx.AsyncClient(trust_env=False) as client:
        for changed in (
            url.replace("partNumber=1", "partNumber=2"),
            url.replace("mine.mp4", "other.mp4"),
            url.partition("?")[0],
            url.partition("?")[0] + f"?uploadId={upload}&partNumber=1",
        ):
            assert changed != url
            answer = await client.put(changed, content=b"not mine")
            assert answer.status_code in {400, 403, 404}, changed
        assert (await client.get(url)).status_code in {400, 403}
    assert list(await store.uploaded_parts(Bucket.CLIPS, "mine.mp4", upload)) == []


async def test_a_url_ends(store: MinioStore) -> None:
    upload = await _begun(store, "late.mp4")
    url = await store.presign_part(Bucket.CLIPS, "late.mp4", upload, 1, timedelta(seconds=1))

    async def refused() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.put(url, content=b"late")).status_code in {400, 403}

    await wait_until(refused, within_s=10)


async def test_nobody_reads_without_credentials(store: MinioStore) -> None:
    await store.put(Bucket.CLIPS, "private", b"x", "video/mp4")
    signed = await store.presign_part(Bucket.CLIPS, "private", "u", 1, LIFE)
    bare = signed.partition("?")[0]
    async with httpx.AsyncClient(trust_env=False) as client:
        for url in (bare, bare.rsplit("/", 1)[0]):
            assert (await client.get(url)).status_code == 403
            assert (await client.delete(url)).status_code == 403


async def test_a_wrong_secret_is_refused(store: MinioStore, servers: TestServers) -> None:
    stranger = MinioStore(
        servers.s3_endpoint,
        servers.stack.secrets.s3_access_key,
        "wrong",
        bucket_prefix=store.bucket_name(Bucket.CLIPS)[:-5],
    )
    with pytest.raises(Invalid):
        await stranger.put(Bucket.CLIPS, "k", b"x", "video/mp4")
    await stranger.close()


async def test_a_store_that_is_away_is_unavailable() -> None:
    away = MinioStore("http://127.0.0.1:9", "a", "secretsecret")
    with pytest.raises(Unavailable) as error:
        await away.ping()
    assert error.value.code == "storage.unavailable"
    await away.close()
