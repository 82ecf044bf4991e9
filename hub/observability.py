"""Logs and figures: structlog for people or machines, credentials taken out; Prometheus counters.

Everything that is logged, by us or by a library through `logging`, passes `redact`: what looks like a credential, by
its name or by its form, becomes `[redacted]`.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram, start_http_server
from structlog.types import EventDict, Processor, WrappedLogger

from hub.errors import Conflict

REDACTED = "[redacted]"
_DEEPEST = 6

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|credential|authori[sz]ation|cookie|jwt|seed|api_?key|private_?key|signature"
    r"|csrf|nonce|(^|_)code_plain$|(^|_)auth$",
    re.IGNORECASE,
)
# Names that hold one of the words above and are harmless.
_HARMLESS_NAME = re.compile(r"^(token_use|credential_kind|secrets_folder|signature_ok|cookie_secure)$")

_FORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ in any URL
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s:@]*:[^@\s]*@", re.IGNORECASE), rf"\1{REDACTED}@"),
    # Authorization schemes
    (re.compile(r"\b(Bearer|Basic|Digest|QianshaoAgent)\s+[^\s\"',]+", re.IGNORECASE), rf"\1 {REDACTED}"),
    # query parameters that open something
    (
        re.compile(
            r"([?&;](?:token|code|password|secret|X-Amz-(?:Signature|Credential|Security-Token))=)[^&\s\"']+",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    # compact JWS: three base64url parts
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"), REDACTED),
    # NATS seeds
    (re.compile(r"\bS[UAOCNX][A-Z2-7]{56}\b"), REDACTED),
    # key = value in a sentence or a driver's message
    (
        re.compile(
            r"\b((?:password|passwd|secret|token|cookie|qs_session)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&}]+", re.IGNORECASE
        ),
        rf"\1{REDACTED}",
    ),
)


def redact_text(text: str) -> str:
    """`text` without anything that has the form of a credential."""
    for form, put in _FORMS:
        text = form.sub(put, text)
    return text


def _redacted(name: str, value: Any, depth: int) -> Any:
    if _SECRET_NAME.search(name) and not _HARMLESS_NAME.match(name) and value not in (None, "", True, False):
        return REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {key: _redacted(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", item, depth + 1) for item in value]
    if isinstance(value, BaseException):
        return redact_text(repr(value))
    return value


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor: takes credentials out of every field, by name and by form."""
    return {name: _redacted(name, value, 0) for name, value in event.items()}


def _without_colours(record: logging.LogRecord) -> bool:
    # uvicorn says everything twice, once for terminals
    record.__dict__.pop("color_message", None)
    return True


def setup_logging(form: Literal["console", "json"] = "console", level: str = "info", **always: str) -> None:
    """Sends all logs of this process to stderr in one form; `always` stands in every line. Call once, first thing."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,  # before `redact`: a traceback may quote a URL
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(**always)
    drawn: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, drawn],
        )
    )
    root = logging.getLogger()
    logging.getLogger("uvicorn.error").addFilter(_without_colours)
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Libraries that tell of every packet or request are heard from warnings on.
    for name in ("httpx", "httpcore", "aioice", "aiortc", "nats", "urllib3", "asyncio", "alembic", "procrastinate"):
        logging.getLogger(name).setLevel(logging.WARNING)


# Figures, in Prometheus' default registry: `/api/v1/metrics` shows them. Labels are few and never name a person, camera or agent.
UPLINK_MESSAGES = Counter("qianshao_uplink_messages", "Uplink messages by what became of them", ("type", "outcome"))
UPLINK_SECONDS = Histogram("qianshao_uplink_seconds", "Time to take one uplink message", ("type",))
AGENT_REQUESTS = Counter("qianshao_agent_requests", "Requests of agents over NATS", ("name", "outcome"))
PART_UP = Gauge("qianshao_part_up", "Whether a server the hub stands on answers", ("part",))


@contextmanager
def metrics_on(port: int) -> Iterator[None]:
    """This process' figures at http://127.0.0.1:`port`/metrics while the block runs, in a thread of their own; 0: nowhere.

    Raises:
        Conflict: `metrics.port_taken`.
    """
    if port == 0:
        yield
        return
    try:
        server, thread = start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        raise Conflict("metrics.port_taken", f"127.0.0.1:{port} is taken: see QIANSHAO_WORKER_METRICS_PORT") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
