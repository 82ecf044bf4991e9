"""Seals form one chain per camera; every link can be checked by anyone with the public key."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from edge_agent.spool import clips, outbox
from edge_agent.spool.store import Spool
from models.keys import SigningKey, verify
from models.wire.seal import GENESIS, Seal, seal_hash, signed_bytes
from models.wire.uplink import ClipSealed
from tests.edge_samples import AGENT, AT, CAMERA, OTHER_CAMERA, cut_file

KEY = SigningKey.generate()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path)
    yield opened
    opened.close()


def seal(spool: Spool, number: int, camera: UUID = CAMERA) -> Seal | None:
    spool.call(clips.plan, UUID(int=number), camera, AT, AT, [UUID(int=9)])
    return spool.call(clips.seal, KEY, AGENT, UUID(int=number), cut_file(f"{number}.mp4"))


def test_links_count_from_one_and_name_the_one_before(spool: Spool) -> None:
    chain = [seal(spool, number) for number in range(1, 6)]
    prev = GENESIS
    for wanted, link in enumerate(chain, 1):
        assert link is not None
        assert (link.body.seq, link.body.prev) == (wanted, prev)
        assert verify(KEY.public_hex, bytes.fromhex(link.signature), signed_bytes(link.body))
        prev = seal_hash(link)


def test_each_camera_has_a_chain_of_its_own(spool: Spool) -> None:
    first, second = seal(spool, 1), seal(spool, 2, OTHER_CAMERA)
    assert first is not None
    assert second is not None
    assert (second.body.seq, second.body.prev) == (1, GENESIS)


def test_a_clip_is_sealed_once_however_often_it_is_asked(spool: Spool) -> None:
    assert seal(spool, 1) is not None
    assert spool.call(clips.seal, KEY, AGENT, UUID(int=1), cut_file()) is None
    assert spool.call(clips.chain_head, CAMERA)[0] == 1
    assert spool.call(outbox.totals).count == 1


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    link = seal(first, 1)
    first.close()
    assert link is not None
    second = Spool(tmp_path)
    following = seal(second, 2)
    second.close()
    assert following is not None
    assert (following.body.seq, following.body.prev) == (2, seal_hash(link))


def test_what_is_announced_is_what_was_sealed(spool: Spool) -> None:
    link = seal(spool, 1)
    (waiting,) = spool.call(outbox.next_batch, {CAMERA}, set())
    said = ClipSealed.model_validate_json(waiting.body)
    assert said.seal == link
    assert said.sighting_ids == [UUID(int=9)]


@pytest.mark.parametrize("field", ["sha256", "size_bytes", "seq", "camera_id", "start_at", "end_at"])
def test_a_seal_says_no_when_any_of_its_facts_is_changed(spool: Spool, field: str) -> None:
    link = seal(spool, 1)
    assert link is not None
    other = {
        "sha256": "cd" * 32,
        "size_bytes": 11,
        "seq": 2,
        "camera_id": OTHER_CAMERA,
        "start_at": AT.replace(microsecond=1),
        "end_at": AT.replace(microsecond=1),
    }
    forged = link.body.model_copy(update={field: other[field]})
    assert not verify(KEY.public_hex, bytes.fromhex(link.signature), signed_bytes(forged))
