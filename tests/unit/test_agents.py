"""Enrolment codes, presence and the QR picture: rules that need no server."""

from datetime import UTC, datetime, timedelta
from io import BytesIO
from uuid import uuid4
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
import segno

from hub.agents.enrolment import enrol_text, qr_svg
from hub.agents.model import CODE_ALPHABET, Agent, observed_at, plain_code

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)


def test_codes_use_no_sign_that_is_taken_for_another() -> None:
    assert not set(CODE_ALPHABET) & set("01OIL")
    assert len(set(CODE_ALPHABET)) == 31


@pytest.mark.parametrize("typed", ["ABCD2345", "abcd2345", " abcd-2345 ", "ABCD 2345", "a.b.c.d.2.3.4.5"])
def test_a_code_is_read_as_it_was_meant(typed: str) -> None:
    assert plain_code(typed) == "ABCD2345"


def test_a_presence_counts_now_unless_it_waited_in_a_queue() -> None:
    assert observed_at(NOW - timedelta(seconds=60), NOW) == NOW
    assert observed_at(NOW - timedelta(seconds=61), NOW) == NOW - timedelta(seconds=61)
    assert observed_at(NOW + timedelta(hours=1), NOW) == NOW  # a clock that is ahead cannot have waited


def test_online_is_heard_of_within_35_seconds_and_not_revoked() -> None:
    agent = Agent(uuid4(), "box", "", "00", "box", "1", NOW, seen_at=NOW)
    assert agent.online(NOW + timedelta(seconds=35))
    assert not agent.online(NOW + timedelta(seconds=36))
    assert not Agent(uuid4(), "box", "", "00", "box", "1", NOW).online(NOW)
    assert not Agent(uuid4(), "box", "", "00", "box", "1", NOW, revoked_at=NOW, seen_at=NOW).online(NOW)


def test_the_qr_picture_is_plain_svg_and_is_read_back_by_a_camera() -> None:
    words = enrol_text("https://hub.example:8443", "ABCD2345")
    svg = ET.fromstring(qr_svg(words))
    assert svg.tag.endswith("svg")
    assert {element.tag.rsplit("}")[-1] for element in svg.iter()} <= {"svg", "path", "g"}
    # The same symbol as pixels, as a camera would see it.
    png = BytesIO()
    segno.make(words, error="m", micro=False).save(png, kind="png", scale=6, border=4)
    picture = cv2.imdecode(np.frombuffer(png.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(picture)
    assert read == words
