"""The chain of seals, and byte ranges."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.clips.model import ByteRange, ChainLink, RangeUnsatisfiable, judge_chain, parse_range, verdict_of
from hub.ingest.uploads import part_sizes
from hub.kit.ids import new_id
from models.wire.agent_http import PART_BYTES
from models.wire.seal import GENESIS

AT = datetime(2026, 11, 20, tzinfo=UTC)
ME = new_id()


def link(seq: int, seal_hash: str) -> ChainLink:
    return ChainLink(new_id(), seq, seal_hash, AT)


def test_the_first_seal_names_genesis() -> None:
    assert judge_chain(ME, 1, GENESIS, [], []) is True
    assert judge_chain(ME, 1, "a" * 64, [], []) is False


def test_a_seal_waits_for_the_one_before_it() -> None:
    assert judge_chain(ME, 2, "a" * 64, [], []) is None
    assert judge_chain(ME, 2, "a" * 64, [link(1, "a" * 64)], []) is True
    assert judge_chain(ME, 2, "a" * 64, [link(1, "b" * 64)], []) is False


def test_of_two_seals_with_one_number_the_first_stands() -> None:
    assert judge_chain(ME, 2, "a" * 64, [link(1, "a" * 64)], [link(2, "c" * 64)]) is False


def test_the_hash_counts_only_once_the_hub_has_read_the_bytes() -> None:
    assert verdict_of("announced", None) == (False, True)
    assert verdict_of("uploaded", None) == (False, True)
    assert verdict_of("verified", None) == (True, True)
    assert verdict_of("refused", "ingest.hash_mismatch") == (False, True)
    assert verdict_of("refused", "ingest.seal_invalid") == (False, False)
    assert verdict_of("refused", "ingest.consent_denied") == (False, True)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-", (0, 100)),
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-5", (95, 100)),
        ("bytes=-1000", (0, 100)),
        (" bytes=99-99 ", (99, 100)),
    ],
)
def test_a_single_range(header: str, expected: tuple[int, int]) -> None:
    assert parse_range(header, 100) == ByteRange(*expected, 100)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=9999999999999999999-"])
def test_a_range_behind_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(RangeUnsatisfiable):
        parse_range(header, 100)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "bytes=0-1,5-6",
        "items=0-5",
        "bytes=0x1-2",
        "bytes=--5",
        "bytes=1-2-3",
        "bytes=١-٢",
        "bytes=" + "9" * 400 + "-",
        "bytes= 1-2",
    ],
)
def test_nonsense_is_ignored_and_the_whole_is_answered(header: str | None) -> None:
    assert parse_range(header, 100) is None


@given(st.text(max_size=60), st.integers(1, 10**12))
def test_a_range_always_lies_inside(header: str, size: int) -> None:
    try:
        found = parse_range(f"bytes={header}", size)
    except RangeUnsatisfiable:
        return
    assert found is None or 0 <= found.start < found.end <= size


@given(st.integers(1, 5 * 1024**3))
def test_parts_cover_an_object_exactly(size: int) -> None:
    sizes = part_sizes(size)
    assert sum(sizes) == size
    assert all(part == PART_BYTES for part in sizes[:-1])
    assert 0 < sizes[-1] <= PART_BYTES
