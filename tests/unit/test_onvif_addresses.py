"""What a device says of its own address is not believed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import AgentError
from edge_agent.onvif.addresses import Address, Reachable, announced_of
from edge_agent.onvif.discovery import found_by_match


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.168.1.64", "192.168.1.64", 80),
        ("cam.lan:8080", "cam.lan", 8080),
        ("[fe80::1]:80", "[fe80::1]", 80),
        ("[::1]", "[::1]", 80),
    ],
)
def test_addresses_are_read(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize(
    "text", ["", ":80", "a b", "host:0", "host:70000", "host:-1", "http://host", "user@host:80", "a/b:80", "-x:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AgentError) as refused:
        Address.parse(text)
    assert refused.value.code == "onvif.bad_address"


REACH = Reachable(Address("10.0.0.5", 8080), announced_of("http://192.168.1.64/onvif/device_service"))


def test_services_are_reached_where_the_device_answered() -> None:
    assert REACH.service("http://192.168.1.64/onvif/media?x=1") == "http://10.0.0.5:8080/onvif/media?x=1"
    assert REACH.service("http://169.254.169.254/latest") == "http://10.0.0.5:8080/latest"
    assert REACH.service("http://192.168.1.64:8899/events") == "http://10.0.0.5:8899/events"


def test_streams_keep_their_port_and_lose_credentials_and_host() -> None:
    assert REACH.stream("rtsp://admin:12345@192.168.1.64/ch1?a=b") == "rtsp://10.0.0.5:554/ch1?a=b"
    assert REACH.stream("rtsp://elsewhere.example:8554/s") == "rtsp://10.0.0.5:8554/s"


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "http://x",
        "rtsp://",
        "rtsp://h/ a",
        "rtsp://h:99999/",
        "rtsp://h/\r\nX: y",
        "",
        "x" * 2000,
    ],
)
def test_what_is_no_stream_is_a_bad_answer(uri: str) -> None:
    with pytest.raises(AgentError) as refused:
        REACH.stream(uri)
    assert refused.value.code == "onvif.bad_answer"


@settings(deadline=None)
@given(st.text(max_size=100))
def test_the_host_is_ours_whatever_the_device_says(text: str) -> None:
    for uri in (text, f"rtsp://{text}", f"rtsp://a@{text}/x"):
        try:
            told = REACH.stream(uri)
        except AgentError as refused:
            code = refused.code
        else:
            code = "onvif.bad_answer" if told.startswith("rtsp://10.0.0.5:") else told
        assert code == "onvif.bad_answer"


def test_a_match_gives_a_port_but_the_senders_host() -> None:
    scopes = ["onvif://www.onvif.org/name/%E6%9D%91%E5%8F%A3", "onvif://www.onvif.org/hardware/X1"]
    found = found_by_match("10.0.0.9", "urn:uuid:1", ["http://203.0.113.1:8000/onvif/device_service"], scopes)
    assert found is not None
    assert (found.address, found.name, found.hardware) == ("10.0.0.9:8000", "村口", "X1")
    assert found_by_match("10.0.0.9", "urn:uuid:1", ["https://x:notaport/", "ftp://x/", ""], []) is None
