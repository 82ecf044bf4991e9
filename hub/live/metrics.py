"""Prometheus figures of live viewing."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge

from hub.live.leg import LegCounters
from hub.live.model import Upstream, UpstreamState

SESSIONS_OPENED = Counter("qianshao_live_sessions_total", "View sessions opened")
SESSIONS_ENDED = Counter("qianshao_live_sessions_ended_total", "View sessions ended", ["reason"])
UPSTREAM_ATTEMPTS = Counter("qianshao_live_upstream_attempts_total", "Times an agent was asked to send", ["outcome"])
SESSIONS = Gauge("qianshao_live_sessions_now", "View sessions now")
UPSTREAMS = Gauge("qianshao_live_upstreams", "Upstreams now", ["state"])
PACKETS_IN = Counter("qianshao_live_packets_received_total", "RTP packets taken from agents")
BYTES_IN = Counter("qianshao_live_bytes_received_total", "RTP payload bytes taken from agents")
PACKETS_OUT = Counter("qianshao_live_packets_sent_total", "RTP packets sent to viewers")
DROPPED = Counter("qianshao_live_packets_dropped_total", "RTP packets not sent because a viewer was too far behind")
RETRANSMITTED = Counter("qianshao_live_packets_retransmitted_total", "RTP packets sent again on a viewer's request")

_KNOWN_REASONS = frozenset({"closed", "lease", "disconnected", "not_connected", "hub_stopped"})


def ended(reason: str) -> None:
    """Counts an ended session; reasons of refusal are counted as one."""
    SESSIONS_ENDED.labels(reason if reason in _KNOWN_REASONS else "refused").inc()


def show(sessions: int, upstreams: Iterable[Upstream]) -> None:
    """Sets the gauges."""
    SESSIONS.set(sessions)
    counts = dict.fromkeys(UpstreamState, 0)
    for upstream in upstreams:
        counts[upstream.state] += 1
    for state, count in counts.items():
        UPSTREAMS.labels(state.value).set(count)


class Flow:
    """Turns the running sums of one upstream into counters."""

    def __init__(self) -> None:
        self._packets = self._bytes = 0
        self._sent = LegCounters()

    def count(self, upstream: Upstream) -> None:
        """Counts what is new since the last call."""
        fanout, sent = upstream.fanout, upstream.fanout.sent()
        PACKETS_IN.inc(fanout.packets - self._packets)
        BYTES_IN.inc(fanout.bytes - self._bytes)
        PACKETS_OUT.inc(sent.packets - self._sent.packets)
        DROPPED.inc(sent.dropped - self._sent.dropped)
        RETRANSMITTED.inc(sent.retransmitted - self._sent.retransmitted)
        self._packets, self._bytes, self._sent = fanout.packets, fanout.bytes, sent
