"""What SDP the hub takes from strangers. Checked before any library sees it: sizes, one video section, sane candidates."""

from hub.errors import Invalid

MAX_SDP_BYTES = 32 * 1024
MAX_LINES = 600
MAX_LINE_CHARS = 1000
MAX_CANDIDATES = 32
_NEEDED = ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:", "a=mid:", "a=rtcp-mux", "a=rtpmap:")


def checked_offer(body: bytes) -> str:
    """The offer as text, if it is one we can answer.

    Raises:
        Invalid: `live.sdp_invalid` (too big, not SDP, not exactly one video section) or `live.no_h264`.
    """
    if len(body) > MAX_SDP_BYTES:
        raise Invalid("live.sdp_invalid", "too big")
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError as error:
        raise Invalid("live.sdp_invalid", "not ASCII") from error
    if any(ord(char) < 32 and char not in "\r\n\t" for char in text):
        raise Invalid("live.sdp_invalid", "control characters")
    lines = text.replace("\r\n", "\n").split("\n")
    if len(lines) > MAX_LINES or any(len(line) > MAX_LINE_CHARS for line in lines):
        raise Invalid("live.sdp_invalid", "too many or too long lines")
    if not lines[0].startswith("v=0"):
        raise Invalid("live.sdp_invalid", "no session")
    _check_sections(lines)
    return "\r\n".join(line for line in lines if line) + "\r\n"


def _check_sections(lines: list[str]) -> None:
    sections = [line for line in lines if line.startswith("m=")]
    if len(sections) != 1 or not sections[0].startswith("m=video "):
        raise Invalid("live.sdp_invalid", "exactly one video section is wanted")
    for prefix in _NEEDED:
        if not any(line.startswith(prefix) for line in lines):
            raise Invalid("live.sdp_invalid", f"{prefix} is missing")
    if sum(line.startswith("a=candidate:") for line in lines) > MAX_CANDIDATES:
        raise Invalid("live.sdp_invalid", "too many candidates")
    if not any(line.startswith("a=rtpmap:") and "h264/90000" in line.lower() for line in lines):
        raise Invalid("live.no_h264", "the offer has no H.264")
