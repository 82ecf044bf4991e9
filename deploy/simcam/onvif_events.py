"""Pull points of one camera (ONVIF Core §9.2, WS-BaseNotification): motion that begins and ends, as its clip shows it."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from deploy.simcam.soap import SoapCall, SoapFault, duration_s, envelope, escape, utc

MAX_SUBSCRIPTIONS = 10
MAX_WAIT_S = 60.0
MAX_QUEUED = 100
DEFAULT_LIFE_S = 60.0
MAX_LIFE_S = 86_400.0
LOOK_EVERY_S = 0.2
TOPIC = "tns1:RuleEngine/CellMotionDetector/Motion"
PATH = "/onvif/subscription/"


@dataclass(frozen=True)
class Motion:
    """Motion began or ended. `operation`: Initialized (the state at subscription) or Changed."""

    at: datetime
    is_motion: bool
    operation: str

    def encode(self) -> str:
        """As a NotificationMessage."""
        return (
            "<wsnt:NotificationMessage>"
            f'<wsnt:Topic Dialect="http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet">{TOPIC}</wsnt:Topic>'
            f'<wsnt:Message><tt:Message UtcTime="{utc(self.at)}" PropertyOperation="{self.operation}"><tt:Source>'
            '<tt:SimpleItem Name="VideoSourceConfigurationToken" Value="vsc0"/>'
            '<tt:SimpleItem Name="VideoAnalyticsConfigurationToken" Value="vac0"/>'
            '<tt:SimpleItem Name="Rule" Value="MotionRegion"/></tt:Source><tt:Data>'
            f'<tt:SimpleItem Name="IsMotion" Value="{str(self.is_motion).lower()}"/></tt:Data></tt:Message>'
            "</wsnt:Message></wsnt:NotificationMessage>"
        )


@dataclass
class PullPoint:
    """One subscription. Its queue is bounded; the oldest go first."""

    ends_s: float  # steady clock
    queue: deque[Motion] = field(default_factory=lambda: deque(maxlen=MAX_QUEUED))
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False


class EventService:
    """`moving` tells whether something moves now, `now` the camera's time."""

    def __init__(self, moving: Callable[[], bool], now: Callable[[], datetime]) -> None:
        self._moving = moving
        self._now = now
        self._points: dict[str, PullPoint] = {}
        self._state = False

    @property
    def subscriptions(self) -> int:
        """How many are open."""
        return len(self._points)

    async def run(self) -> None:
        """Watches for motion until cancelled."""
        while True:
            self._sweep()
            state = self._moving()
            if state != self._state:
                self._state = state
                self._tell(Motion(self._now(), state, "Changed"))
            await asyncio.sleep(LOOK_EVERY_S)

    def close(self) -> None:
        """Forgets every subscription, as a reboot does; waiting pulls end with a fault."""
        for point in self._points.values():
            point.gone = True
            point.wake.set()
        self._points.clear()

    def create(self, call: SoapCall, base: str) -> bytes:
        """CreatePullPointSubscription.

        Raises:
            SoapFault: no more subscriptions, or a bad termination time.
        """
        self._sweep()
        if len(self._points) >= MAX_SUBSCRIPTIONS:
            raise SoapFault("ter:MaxPullPoints", "too many pull points", 500, "s:Receiver")
        life_s = self._life_s(call.text("InitialTerminationTime"))
        name = secrets.token_hex(6)
        point = PullPoint(_steady_s() + life_s)
        point.queue.append(Motion(self._now(), self._state, "Initialized"))
        point.wake.set()
        self._points[name] = point
        return envelope(
            "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference>"
            f"<wsa:Address>{escape(base + PATH + name)}</wsa:Address></tev:SubscriptionReference>"
            f"{self._times(life_s)}</tev:CreatePullPointSubscriptionResponse>"
        )

    async def on_subscription(self, call: SoapCall, path: str) -> bytes:
        """PullMessages, Renew, Unsubscribe or SetSynchronizationPoint of the subscription that `path` names.

        Raises:
            SoapFault: no such subscription or operation.
        """
        self._sweep()
        point = self._points.get(path.removeprefix(PATH))
        if point is None:
            raise SoapFault("ter:ResourceUnknown", "no such subscription")
        match call.name:
            case "PullMessages":
                return await self._pull(call, point)
            case "Renew":
                life_s = self._life_s(call.text("TerminationTime"))
                point.ends_s = _steady_s() + life_s
                return envelope(f"<wsnt:RenewResponse>{self._times(life_s)}</wsnt:RenewResponse>")
            case "Unsubscribe":
                del self._points[path.removeprefix(PATH)]
                point.gone = True
                point.wake.set()
                return envelope("<wsnt:UnsubscribeResponse/>")
            case "SetSynchronizationPoint":
                point.queue.append(Motion(self._now(), self._state, "Initialized"))
                point.wake.set()
                return envelope("<tev:SetSynchronizationPointResponse/>")
        raise SoapFault("ter:ActionNotSupported", "no such operation")

    async def _pull(self, call: SoapCall, point: PullPoint) -> bytes:
        wait_s = min(duration_s(call.text("Timeout") or "PT0S"), MAX_WAIT_S)
        limit = call.text("MessageLimit") or "100"
        if not limit.isdecimal() or not 1 <= int(limit[:9]) <= 10_000:
            raise SoapFault("ter:InvalidArgVal", "MessageLimit")
        try:
            async with asyncio.timeout(wait_s):
                await point.wake.wait()
        except TimeoutError:
            pass  # an empty answer is an answer
        if point.gone:
            raise SoapFault("ter:ResourceUnknown", "the subscription has ended")
        messages = [point.queue.popleft() for _ in range(min(int(limit), len(point.queue)))]
        if not point.queue:
            point.wake.clear()
        ends = self._now() + timedelta(seconds=max(0.0, point.ends_s - _steady_s()))
        body = "".join(message.encode() for message in messages)
        return envelope(
            f"<tev:PullMessagesResponse><tev:CurrentTime>{utc(self._now())}</tev:CurrentTime>"
            f"<tev:TerminationTime>{utc(ends)}</tev:TerminationTime>{body}</tev:PullMessagesResponse>"
        )

    def _tell(self, motion: Motion) -> None:
        for point in self._points.values():
            point.queue.append(motion)
            point.wake.set()

    def _sweep(self) -> None:
        now_s = _steady_s()
        for name in [name for name, point in self._points.items() if point.ends_s <= now_s]:
            ended = self._points.pop(name)
            ended.gone = True
            ended.wake.set()

    def _life_s(self, asked: str | None) -> float:
        if not asked:
            return DEFAULT_LIFE_S
        if asked.startswith("P"):
            life_s = duration_s(asked)
        else:
            try:
                until = datetime.fromisoformat(asked)
                life_s = (until - self._now()).total_seconds()
            except (ValueError, TypeError) as error:
                raise SoapFault("ter:InvalidArgVal", "termination time") from error
        if not 1 <= life_s <= MAX_LIFE_S:
            raise SoapFault("ter:InvalidArgVal", "termination time")
        return life_s

    def _times(self, life_s: float) -> str:
        now = self._now()
        ends = now + timedelta(seconds=life_s)
        return (
            f"<wsnt:CurrentTime>{utc(now)}</wsnt:CurrentTime><wsnt:TerminationTime>{utc(ends)}</wsnt:TerminationTime>"
        )


def _steady_s() -> float:
    return asyncio.get_running_loop().time()
