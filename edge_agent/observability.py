"""Logs (structlog, constant event names, no credentials) and metrics (Prometheus) of the agent."""

import logging
import re
import sys
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_SECRET_NAME = re.compile(r"pass|secret|token|jwt|authorization|credential|seed", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_SIGNED_QUERY = re.compile(r"\?[^\s]*X-Amz-[^\s]*", re.IGNORECASE)
HIDDEN = "***"


def redact(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: hides values by name, and user:password@ and signatures inside URLs."""
    for key, value in event.items():
        if key != "event" and _SECRET_NAME.search(key):
            event[key] = HIDDEN
        elif isinstance(value, str):
            event[key] = _SIGNED_QUERY.sub(f"?{HIDDEN}", _USER_INFO.sub(f"{HIDDEN}@", value))
    return event


def configure_logging(form: str) -> None:
    """Sets structlog up for `console` or `json`, to standard error."""
    last: Any = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


Sample = tuple[str, dict[str, str], float]
"""Name without the prefix, labels, value."""


class Observed(Collector):
    """Metrics read at the moment they are asked for."""

    def __init__(self, read: Callable[[], Iterable[Sample]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """One gauge per name."""
        families: dict[str, GaugeMetricFamily] = {}
        for name, labels, value in self._read():
            full = f"qianshao_edge_{name}"
            if full not in families:
                families[full] = GaugeMetricFamily(full, full.replace("_", " "), labels=sorted(labels))
            families[full].add_metric([labels[key] for key in sorted(labels)], value)
        return families.values()


def serve_metrics(port: int, read: Callable[[], Iterable[Sample]]) -> tuple[int, Callable[[], None]]:
    """Serves metrics on loopback; the port taken, and how to stop."""
    registry = CollectorRegistry()
    registry.register(Observed(read))
    server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(2.0)

    return server.server_port, stop
