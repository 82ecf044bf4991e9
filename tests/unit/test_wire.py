"""Wire messages: a kept sample of each still parses, says the same again, and has a JSON Schema.

A sample is never edited after a release: a new version of a message gets a sample of its own beside it
(`tests/fixtures/wire/<message>.v<N>.json`), and both must parse.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from models.keys import verify
from models.wire import agent_http, downlink, uplink
from models.wire.base import Wire
from models.wire.seal import GENESIS, Seal, canonical, seal_hash, signed_bytes

FIXTURES = Path(__file__).parent.parent / "fixtures" / "wire"

SAMPLE_KEY = "f928ee356b84989470ee20bb48121c68de6f3cfe7abf7697532f641417adb7dc"
SAMPLE_SEAL_HASH = "87f71cb881d6fcb69e2d441c997debb3ecf9bd5270e9416ac7f9b4e64d673d41"

SHAPES: dict[str, Any] = {
    "sighting": uplink.UPLINK,
    "clip": uplink.UPLINK,
    "gap": uplink.UPLINK,
    "device": uplink.UPLINK,
    "presence": uplink.UPLINK,
    "desired": downlink.PUSHED,
    "receipts": downlink.PUSHED,
    "receipts_ask": TypeAdapter(downlink.ReceiptsAsk),
    "live_start": downlink.COMMAND,
    "live_stop": downlink.COMMAND,
    "command_reply": TypeAdapter(downlink.CommandReply),
    "seal": TypeAdapter(Seal),
    "enrol_ask": TypeAdapter(agent_http.EnrolAsk),
    "enrol_reply": TypeAdapter(agent_http.EnrolReply),
    "upload_ask": TypeAdapter(agent_http.UploadAsk),
    "upload_plan": TypeAdapter(agent_http.UploadPlan),
    "upload_complete": TypeAdapter(agent_http.UploadComplete),
}

SAMPLES = sorted(FIXTURES.glob("*.json"))


def name_of(path: Path) -> str:
    return path.name.split(".")[0]


def test_every_message_has_a_sample() -> None:
    assert {name_of(path) for path in SAMPLES} == set(SHAPES)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_parses_and_says_the_same_again(path: Path) -> None:
    shape = SHAPES[name_of(path)]
    message = shape.validate_json(path.read_bytes())
    again = shape.validate_json(shape.dump_json(message))
    assert again == message


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_an_unknown_field_is_refused(path: Path) -> None:
    sample = json.loads(path.read_text(encoding="utf-8")) | {"identity": "somebody"}
    with pytest.raises(ValidationError):
        SHAPES[name_of(path)].validate_python(sample)


@pytest.mark.parametrize("name", SHAPES)
def test_every_message_has_a_json_schema(name: str) -> None:
    schema = SHAPES[name].json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert "properties" in schema or "oneOf" in schema


def test_the_sealed_sample_is_signed_by_the_sample_key() -> None:
    """The bytes under a signature never change: an old seal must verify for ever."""
    seal = Seal.model_validate_json((FIXTURES / "seal.v1.json").read_bytes())
    assert verify(SAMPLE_KEY, bytes.fromhex(seal.signature), signed_bytes(seal.body))
    assert seal.body.prev == GENESIS
    assert canonical(seal.body) == (
        b'{"agent_id":"0199c000-0000-7000-8000-00000000000a","camera_id":"0199c000-0000-7000-8000-00000000000c",'
        b'"clip_id":"0199c000-0000-7000-8000-0000000000c1","clock":{"offset_ms":-1200,"uncertainty_ms":510},'
        b'"end_us":1763712014480001,"prev":"0000000000000000000000000000000000000000000000000000000000000000",'
        b'"seq":1,"sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","size_bytes":4,'
        b'"start_us":1763712000000000,"v":1}'
    )
    assert seal_hash(seal) == SAMPLE_SEAL_HASH


@pytest.mark.parametrize(
    "change",
    [
        {"clip_id": "0199c000-0000-7000-8000-0000000000c2"},
        {"sha256": "1" * 64},
        {"size_bytes": 5},
        {"seq": 2},
        {"prev": "1" * 64},
        {"start_at": "2025-11-21T08:00:00.000001Z"},
        {"end_at": "2025-11-21T08:00:14.480002Z"},
        {"clock": {"offset_ms": 0, "uncertainty_ms": 510}},
        {"clock": {"offset_ms": None, "uncertainty_ms": 510}},
        {"agent_id": "0199c000-0000-7000-8000-00000000000b"},
        {"camera_id": "0199c000-0000-7000-8000-00000000000d"},
    ],
)
def test_no_field_of_a_seal_can_be_changed(change: dict[str, Any]) -> None:
    sample = json.loads((FIXTURES / "seal.v1.json").read_text())
    body = Seal.model_validate({**sample, "body": sample["body"] | change}).body
    assert not verify(SAMPLE_KEY, bytes.fromhex(sample["signature"]), signed_bytes(body))


def test_the_same_instant_in_another_zone_is_the_same_seal() -> None:
    sample = json.loads((FIXTURES / "seal.v1.json").read_text())
    elsewhere = {**sample, "body": sample["body"] | {"start_at": "2025-11-21T16:00:00+08:00"}}
    assert canonical(Seal.model_validate(elsewhere).body) == canonical(Seal.model_validate(sample).body)


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_figures_are_finite(figure: str) -> None:
    raw = (FIXTURES / "clip.v1.json").read_text().replace('"fps_measured": 24.97', f'"fps_measured": {figure}')
    with pytest.raises(ValidationError):
        uplink.UPLINK.validate_json(raw)


def test_all_shapes_refuse_unknown_fields_and_are_immutable() -> None:
    def below(shape: type[Wire]) -> list[type[Wire]]:
        return [shape, *(deeper for one in shape.__subclasses__() for deeper in below(one))]

    for shape in below(Wire):
        assert shape.model_config.get("extra") == "forbid", shape
        assert shape.model_config.get("frozen"), shape
