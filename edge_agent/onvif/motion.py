"""Motion events of a device by pull point (ONVIF Core §9.2), for as long as one listens.

Subscriptions are asked for in seconds, ten minutes at least, renewed at half their life, and made anew after any trouble
(lesson 8). Topics are read from the raw answer, because zeep drops them.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import structlog

from edge_agent.errors import AgentError
from edge_agent.onvif.addresses import Address, Reachable
from edge_agent.onvif.client import clock_or_none, reachable_of
from edge_agent.onvif.model import MotionSeen
from edge_agent.onvif.services import SUBSCRIPTION_BINDING, Caller, Login
from edge_agent.onvif.transport import READ_S, parse_xml

LIFE_S = 600
PULL_S = 5
PULL_LIMIT = 50
BACKOFF_S = (1.0, 2.0, 5.0, 15.0, 60.0)
_WSNT = "{http://docs.oasis-open.org/wsn/b-2}"
_TT = "{http://www.onvif.org/ver10/schema}"
_WSA = "{http://www.w3.org/2005/08/addressing}"
TOPICS = {
    "RuleEngine/CellMotionDetector/Motion": "IsMotion",
    "RuleEngine/MotionRegionDetector/Motion": "State",
    "VideoSource/MotionAlarm": "State",
}
"""Which data item of which topic says whether there is motion."""

log = structlog.get_logger()


@dataclass(frozen=True)
class PullPoint:
    """A subscription: where it is pulled, and until when it lives (steady seconds)."""

    url: str
    renew_at_s: float


class MotionEvents:
    """`for seen in MotionEvents(...)`: blocks for events, subscribes anew after trouble, ends when `stop` is set.

    `on_trouble` is told the code when a subscription is lost and "" when it stands again.
    """

    def __init__(
        self,
        address: str,
        username: str,
        password: str,
        stop: threading.Event,
        on_trouble: Callable[[str], None] = lambda _: None,
        life_s: int = LIFE_S,
    ) -> None:
        self._address = Address.parse(address)
        self._login = Login(username, password)
        self._stop = stop
        self._on_trouble = on_trouble
        self._life_s = life_s
        self._pull = timedelta(seconds=min(PULL_S, max(1, life_s // 4)))  # short enough that renewals come in time
        self._unknown: set[str] = set()

    def __iter__(self) -> Iterator[MotionSeen]:
        failures = 0
        while not self._stop.is_set():
            try:
                for seen in self._listen():
                    failures = 0
                    yield from seen
                return
            except AgentError as error:
                if not failures:
                    self._on_trouble(error.code)
                self._stop.wait(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1

    def _listen(self) -> Iterator[list[MotionSeen]]:
        offset = timedelta(milliseconds=clock_or_none(str(self._address)).offset_ms or 0)
        caller = Caller(self._login, offset, read_s=READ_S + PULL_S)
        point = self._subscribe(caller)
        self._on_trouble("")
        try:
            while not self._stop.is_set():
                raw = caller.call_raw(
                    "pullpoint", point.url, "PullMessages", Timeout=self._pull, MessageLimit=PULL_LIMIT
                )
                yield self._known(raw)
                if monotonic() >= point.renew_at_s:
                    point = self._renew(caller, point)
        finally:
            self._unsubscribe(caller, point)

    def _known(self, raw: bytes) -> list[MotionSeen]:
        seen, unknown = parse_notifications(raw)
        for topic in unknown - self._unknown:
            if len(self._unknown) < 100:
                self._unknown.add(topic)
                log.info("onvif.topic_unknown", address=str(self._address), topic=topic)
        return seen

    def _subscribe(self, caller: Caller) -> PullPoint:
        capabilities = caller.call("devicemgmt", self._address.device_service, "GetCapabilities", Category="All")
        reach = reachable_of(self._address, capabilities)
        events = getattr(getattr(capabilities, "Events", None), "XAddr", None)
        if not isinstance(events, str):
            raise AgentError("onvif.bad_answer", "no event service")
        raw = caller.call_raw(
            "events",
            reach.service(events),
            "CreatePullPointSubscription",
            InitialTerminationTime=f"PT{self._life_s}S",
        )
        return PullPoint(subscription_url(raw, reach), monotonic() + self._life_s / 2)

    def _renew(self, caller: Caller, point: PullPoint) -> PullPoint:
        caller.call_raw("events", point.url, "Renew", SUBSCRIPTION_BINDING, TerminationTime=f"PT{self._life_s}S")
        return PullPoint(point.url, monotonic() + self._life_s / 2)

    @staticmethod
    def _unsubscribe(caller: Caller, point: PullPoint) -> None:
        with contextlib.suppress(AgentError):  # it is lost, or ends by itself
            caller.call_raw("events", point.url, "Unsubscribe", SUBSCRIPTION_BINDING)


def subscription_url(raw: bytes, reach: Reachable) -> str:
    """The pull point's address, at the reachable host.

    Raises:
        AgentError: onvif.bad_answer.
    """
    address = parse_xml(raw).find(f".//{{*}}SubscriptionReference/{_WSA}Address")
    if address is None or not (address.text or "").strip():
        raise AgentError("onvif.bad_answer", "no subscription address")
    return reach.service(address.text.strip())


def parse_notifications(raw: bytes) -> tuple[list[MotionSeen], set[str]]:
    """Motion in a PullMessages answer, and the topics in it that are not understood.

    Raises:
        AgentError: onvif.bad_answer, when it is no XML.
    """
    seen: list[MotionSeen] = []
    unknown: set[str] = set()
    for message in parse_xml(raw).iter(f"{_WSNT}NotificationMessage"):
        topic = _topic(message)
        if topic not in TOPICS:
            unknown.add(topic)
            continue
        told = _motion(message, topic)
        if told is not None:
            seen.append(told)
    return seen, unknown


def _topic(message: Any) -> str:
    """`tns1:A/tns1:B` → `A/B`; prefixes are the device's choice."""
    text = message.findtext(f"{_WSNT}Topic") or ""
    return "/".join(part.rpartition(":")[2] for part in text.strip()[:300].split("/"))


def _motion(message: Any, topic: str) -> MotionSeen | None:
    told = message.find(f"{_WSNT}Message/{_TT}Message")
    if told is None:
        return None
    data = {item.get("Name"): item.get("Value", "") for item in told.iterfind(f"{_TT}Data/{_TT}SimpleItem")}
    state = data.get(TOPICS[topic], "").strip().lower()
    at = parse_time(told.get("UtcTime", ""))
    if at is None or state not in {"true", "false", "1", "0"}:
        return None
    source = next((item.get("Value", "") for item in told.iterfind(f"{_TT}Source/{_TT}SimpleItem")), "")
    return MotionSeen(at, state in {"true", "1"}, told.get("PropertyOperation") == "Initialized", topic, source[:200])


def parse_time(text: str) -> datetime | None:
    """An `xs:dateTime`; without a zone it is UTC, as ONVIF's attribute says. None when it is none."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})?", text.strip()):
        return None
    try:
        at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.strip()))
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
