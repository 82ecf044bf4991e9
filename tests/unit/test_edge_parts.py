"""Small parts of the agent: what a person types, what a log may say, threads, locks, waiting."""

import threading
from pathlib import Path

import httpx
import pytest

from edge_agent.cli import tidy_address
from edge_agent.errors import AgentError
from edge_agent.kit.backoff import Backoff, Retries
from edge_agent.kit.clock import from_us, to_us
from edge_agent.kit.threads import OwnThread
from edge_agent.observability import redact, serve_metrics
from edge_agent.spool.lock import running_pid, sole_owner
from edge_agent.uplink.identity import IDENTITY_FILE, load_identity, tidy_hub_url
from tests.edge_samples import AT


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("192.168.1.64", "192.168.1.64:80"),
        ("192.168.1.64:8000", "192.168.1.64:8000"),
        (" http://cam.local/onvif/device_service ", "cam.local:80"),
        ("[fe80::1]:8080", "[fe80::1]:8080"),
    ],
)
def test_an_address_is_taken_as_people_write_it(typed: str, meant: str) -> None:
    assert tidy_address(typed) == meant


@pytest.mark.parametrize(
    "typed", ["", ":80", "a b", "cam:0", "cam:70000", "cam:x", "user:pass@cam", "a" * 300, "cam;rm -rf /"]
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(AgentError, match=r"device\.address_invalid"):
        tidy_address(typed)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("hub.example.org/", "http://hub.example.org"), ("https://hub.example.org:8443", "https://hub.example.org:8443")],
)
def test_a_hubs_address_is_tidied(typed: str, meant: str) -> None:
    assert tidy_hub_url(typed) == meant


@pytest.mark.parametrize("typed", ["", "ftp://hub", "http://", "http://user:pass@hub", "http://hub/?x=1", "http://a b"])
def test_what_is_no_hub_is_refused(typed: str) -> None:
    with pytest.raises(AgentError, match=r"enrolment\.hub_url_invalid"):
        tidy_hub_url(typed)


def test_no_credential_reaches_a_log() -> None:
    said = redact(
        None,
        "info",
        {
            "event": "password.changed",
            "password": "hunter2",
            "user_jwt": "eyJ",
            "authorization": "QianshaoAgent x",
            "url": "rtsp://viewer:hunter2@cam/main",
            "put": "http://s3/clips/x?X-Amz-Algorithm=a&X-Amz-Signature=abc",
            "address": "cam:80",
        },
    )
    text = str(said)
    assert said["event"] == "password.changed"
    assert said["address"] == "cam:80"
    for secret in ("hunter2", "eyJ", "QianshaoAgent", "abc"):
        assert secret not in text


def test_one_agent_per_folder_and_a_dead_ones_lock_is_free(tmp_path: Path) -> None:
    assert running_pid(tmp_path) is None
    with sole_owner(tmp_path):
        assert running_pid(tmp_path) is not None
        with pytest.raises(AgentError, match=r"agent\.already_running"), sole_owner(tmp_path):
            pass
    assert running_pid(tmp_path) is None


def test_an_identity_file_that_is_damaged_is_a_clear_error(tmp_path: Path) -> None:
    assert load_identity(tmp_path) is None
    (tmp_path / IDENTITY_FILE).write_text('{"hub_url": ')
    with pytest.raises(AgentError, match=r"identity\.unreadable"):
        load_identity(tmp_path)


def test_microseconds_survive_the_spool() -> None:
    at = AT.replace(microsecond=123_457)
    assert from_us(to_us(at)) == at


def test_waits_grow_to_a_bound_with_jitter_and_start_anew_after_success() -> None:
    backoff = Backoff(first=1.0, most=8.0)
    waits = [backoff.next_s() for _ in range(6)]
    for wait, full in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert full / 2 <= wait <= full
    backoff.reset()
    assert backoff.next_s() <= 1.0


def test_what_failed_is_not_due_until_its_wait_is_over_or_circumstances_change() -> None:
    retries: Retries[str] = Retries(first=60, most=60)
    assert retries.due("a")
    retries.later("a")
    assert not retries.due("a")
    assert retries.due("b")
    retries.soon()
    assert retries.due("a")


def test_an_own_thread_keeps_order_hands_errors_on_and_ends() -> None:
    thread = OwnThread("test")
    names: list[str] = []
    futures = [thread.submit(names.append, str(number)) for number in range(5)]
    names_of = thread.submit(lambda: threading.current_thread().name)
    failing = thread.submit(int, "x")
    assert names_of.result(2) == "test"
    with pytest.raises(ValueError):
        failing.result(2)
    assert all(future.done() for future in futures)
    assert names == list("01234")
    thread.close()
    with pytest.raises(RuntimeError):
        thread.submit(int)


def test_metrics_are_served_on_loopback_only() -> None:

    port, stop = serve_metrics(0, lambda: [("lost", {"reason": "x"}, 2.0)])
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    finally:
        stop()
    assert 'qianshao_edge_lost{reason="x"} 2.0' in text
