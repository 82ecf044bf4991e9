"""Answers of devices: what is no SOAP is refused before zeep sees it; motion is read from raw topics."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace as Plain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import AgentError
from edge_agent.onvif.addresses import Address, Reachable
from edge_agent.onvif.client import main_and_sub
from edge_agent.onvif.motion import parse_notifications, parse_time, subscription_url
from edge_agent.onvif.transport import MAX_DEPTH, Answer, Refused, check_soap, parse_xml

SOAP = Path(__file__).parents[1] / "fixtures" / "soap"


def _answer(name: str, status: int = 200, **headers: str) -> Answer:
    return Answer(status, headers, (SOAP / name).read_bytes())


@pytest.mark.parametrize("name", ["truncated.xml", "entity_bomb.xml", "outside_entity.xml", "page.html"])
def test_what_is_no_soap_is_a_bad_answer(name: str) -> None:
    with pytest.raises(AgentError) as refused:
        check_soap(_answer(name))
    assert refused.value.code == "onvif.bad_answer"


@pytest.mark.parametrize(
    "answer",
    [
        _answer("page_401.html"),
        _answer("page_401.html", 401),
        _answer("page.html", 401),
        _answer("not_authorized_fault.xml", 400),
    ],
    ids=["html in a 200", "html 401", "any 401", "fault"],
)
def test_a_refusal_is_understood_in_every_form(answer: Answer) -> None:
    with pytest.raises(Refused):
        check_soap(answer)


def test_an_offer_of_http_digest_is_noticed() -> None:
    with pytest.raises(Refused) as refused:
        check_soap(Answer(401, {"www-authenticate": 'Digest realm="x"'}, b""))
    assert refused.value.digest_offered


def test_a_very_deep_answer_is_refused() -> None:
    with pytest.raises(AgentError):
        parse_xml(b"<a>" * (MAX_DEPTH + 5) + b"</a>" * (MAX_DEPTH + 5))


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_by_code(content: bytes) -> None:
    with pytest.raises((AgentError, Refused)):
        check_soap(Answer(200, {}, content))


def test_motion_is_read_whatever_the_prefix_and_the_rest_is_named() -> None:
    seen, unknown = parse_notifications((SOAP / "motion_messages.xml").read_bytes())
    assert [(one.topic, one.is_motion, one.initial, one.source) for one in seen] == [
        ("RuleEngine/CellMotionDetector/Motion", False, True, "vsc0"),
        ("VideoSource/MotionAlarm", True, False, "0"),
    ]
    assert seen[1].at == datetime(2026, 11, 22, 13, 59, 59, tzinfo=UTC)
    assert "Device/HardwareFailure/FanFailure" in unknown


@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-01T00:00:00Z", "2026-11-22", "2026-11-22T25:00:00Z", "2026-11-22T10:00:00+99:00"]
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse_time(text) is None


def test_a_subscription_elsewhere_is_pulled_here() -> None:
    raw = (
        b'<e xmlns:t="http://www.onvif.org/ver10/events/wsdl" xmlns:a="http://www.w3.org/2005/08/addressing">'
        b"<t:SubscriptionReference><a:Address>http://198.51.100.9:80/sub?id=1</a:Address></t:SubscriptionReference></e>"
    )
    assert subscription_url(raw, Reachable(Address("10.0.0.5", 80))) == "http://10.0.0.5:80/sub?id=1"
    with pytest.raises(AgentError):
        subscription_url(b"<e/>", Reachable(Address("10.0.0.5", 80)))


def _profile(width: int | None, height: int | None) -> Plain:
    return Plain(VideoEncoderConfiguration=Plain(Resolution=Plain(Width=width, Height=height)))


def test_main_is_the_largest_and_sub_is_what_a_detector_wants() -> None:
    tiny, sub, middle, main = _profile(176, 144), _profile(640, 480), _profile(1280, 720), _profile(2560, 1440)
    assert main_and_sub([tiny, middle, main, sub]) == (main, sub)
    assert main_and_sub([main]) == (main, None)
    assert main_and_sub([_profile(None, -5), main])[0] is main
