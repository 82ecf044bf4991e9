"""SOAP 1.2 envelopes: reading a request safely, writing answers and faults; XML durations and times."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

SOAP = "http://www.w3.org/2003/05/soap-envelope"
TDS = "http://www.onvif.org/ver10/device/wsdl"
TRT = "http://www.onvif.org/ver10/media/wsdl"
TEV = "http://www.onvif.org/ver10/events/wsdl"
TT = "http://www.onvif.org/ver10/schema"
WSNT = "http://docs.oasis-open.org/wsn/b-2"
WSA = "http://www.w3.org/2005/08/addressing"
CONTENT_TYPE = "application/soap+xml; charset=utf-8"
_SPACES = {
    "s": SOAP,
    "tds": TDS,
    "trt": TRT,
    "tev": TEV,
    "tt": TT,
    "wsnt": WSNT,
    "wsa": WSA,
    "ter": "http://www.onvif.org/ver10/error",
    "tns1": "http://www.onvif.org/ver10/topics",
}
_OPEN = "".join(f' xmlns:{prefix}="{space}"' for prefix, space in _SPACES.items())
_DURATION = re.compile(
    r"P(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?"
)


class SoapFault(Exception):
    """Something a device refuses; `subcode` as ONVIF names it, such as `ter:NotAuthorized`."""

    def __init__(self, subcode: str, reason: str, status: int = 400, code: str = "s:Sender") -> None:
        super().__init__(reason)
        self.code = code
        self.subcode = subcode
        self.reason = reason
        self.status = status

    def encode(self) -> bytes:
        """The fault as an envelope."""
        return envelope(
            f"<s:Fault><s:Code><s:Value>{self.code}</s:Value><s:Subcode><s:Value>{self.subcode}</s:Value></s:Subcode>"
            f'</s:Code><s:Reason><s:Text xml:lang="en">{escape(self.reason)}</s:Text></s:Reason></s:Fault>'
        )


@dataclass(frozen=True)
class SoapCall:
    """A request: the body's first element and the header, if any."""

    operation: ET.Element
    header: ET.Element | None

    @property
    def name(self) -> str:
        """The operation's local name."""
        return self.operation.tag.rpartition("}")[2]

    @property
    def namespace(self) -> str:
        """The operation's namespace."""
        return self.operation.tag[1:].partition("}")[0] if self.operation.tag.startswith("{") else ""

    def text(self, local_name: str) -> str | None:
        """Text of the first element of this name anywhere below the operation."""
        found = self.operation.find(f".//{{*}}{local_name}")
        return None if found is None else (found.text or "").strip()


def parse(body: bytes) -> SoapCall:
    """Reads an envelope. Document types are refused unread, so there are no entities to expand.

    Raises:
        SoapFault: `ter:WellFormed`.
    """
    try:
        text = body.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise SoapFault("ter:WellFormed", "document types are not accepted")
        root = ET.fromstring(text)  # noqa: S314 - no document type, so no entities; size bounded by the server
    except (UnicodeDecodeError, ET.ParseError, ValueError) as error:
        raise SoapFault("ter:WellFormed", "not well-formed XML") from error
    found = root.find(f"{{{SOAP}}}Body") if root.tag == f"{{{SOAP}}}Envelope" else None
    if found is None or len(found) == 0:
        raise SoapFault("ter:WellFormed", "not a SOAP 1.2 envelope with a body")
    return SoapCall(found[0], root.find(f"{{{SOAP}}}Header"))


def envelope(body: str, header: str = "") -> bytes:
    """An envelope with ONVIF's usual prefixes declared."""
    head = f"<s:Header>{header}</s:Header>" if header else ""
    text = f'<?xml version="1.0" encoding="utf-8"?><s:Envelope{_OPEN}>{head}<s:Body>{body}</s:Body></s:Envelope>'
    return text.encode()


def duration_s(text: str) -> float:
    """Seconds of an `xs:duration`; a year is 365 days, a month 30.

    Raises:
        SoapFault: `ter:InvalidArgVal`.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise SoapFault("ter:InvalidArgVal", "not a duration")
    years, months, days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return (((years * 365 + months * 30 + days) * 24 + hours) * 60 + minutes) * 60 + seconds


def utc(at: datetime) -> str:
    """`xs:dateTime` in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


__all__ = ["CONTENT_TYPE", "SoapCall", "SoapFault", "duration_s", "envelope", "escape", "parse", "quoteattr", "utc"]
