"""The ONVIF services of one camera: device, media, events and the snapshot, over one HTTP port.

Authentication is by the camera's configuration: WS-Security digest or text, HTTP digest, or either. The clock can be read
without any, as the specification asks (ONVIF Core §5.9.3, access class PRE_AUTH).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from deploy.simcam import onvif_answers as answers
from deploy.simcam.clock import CameraClock
from deploy.simcam.config import OnvifAuth
from deploy.simcam.digest import DigestGate
from deploy.simcam.mount import Mount
from deploy.simcam.onvif_events import PATH as SUBSCRIPTION_PATH
from deploy.simcam.onvif_events import EventService
from deploy.simcam.soap import CONTENT_TYPE, TDS, TEV, TRT, WSNT, SoapCall, SoapFault, parse
from deploy.simcam.webserver import WebRequest, WebResponse
from deploy.simcam.wsse import TokenGate

PRE_AUTH = frozenset(
    {"GetSystemDateAndTime", "GetServices", "GetCapabilities", "GetServiceCapabilities", "GetHostname", "GetWsdlUrl"}
)
SNAPSHOT_PATH = "/snapshot"
HTML_401 = b"<html><head><title>401 Unauthorized</title></head><body><h1>401 Unauthorized</h1></body></html>"


class Filming(Protocol):
    """What the ONVIF side needs of its camera."""

    username: str
    password: str
    clock: CameraClock
    main: Mount
    sub: Mount

    @property
    def name(self) -> str:
        """The camera's name."""

    @property
    def serial(self) -> str:
        """Its serial number."""

    @property
    def rtsp_port(self) -> int:
        """Where its streams are."""

    def reboot_soon(self) -> None:
        """Reboots after the answer has gone out."""

    async def snapshot(self) -> bytes:
        """The present picture as JPEG."""


class OnvifDevice:
    """Handles every request to the camera's HTTP port."""

    def __init__(self, camera: Filming, auth: OnvifAuth, announced_host: str | None, events: EventService) -> None:
        self._camera = camera
        self._auth = auth
        self._announced_host = announced_host
        self._events = events
        self._tokens = TokenGate(text_only=auth is OnvifAuth.WS_TEXT)
        self._digests = DigestGate("simcam", qop=True)
        self._operations: dict[tuple[str, str], Callable[[SoapCall, WebRequest], bytes]] = {
            (TDS, "GetSystemDateAndTime"): lambda call, request: answers.system_time(camera.clock.now()),
            (TDS, "SetSystemDateAndTime"): self._set_time,
            (TDS, "GetDeviceInformation"): lambda call, request: answers.device_information(camera.serial),
            (TDS, "GetCapabilities"): lambda call, request: answers.capabilities(self._base(request)),
            (TDS, "GetServices"): lambda call, request: answers.services(self._base(request)),
            (TDS, "GetScopes"): lambda call, request: answers.scopes(camera.name),
            (TDS, "GetHostname"): lambda call, request: answers.hostname(camera.serial),
            (TDS, "SystemReboot"): self._reboot,
            (TRT, "GetProfiles"): lambda call, request: answers.profiles(camera.main, camera.sub),
            (TRT, "GetVideoSources"): lambda call, request: answers.video_sources(camera.main),
            (TRT, "GetVideoEncoderConfigurations"): lambda call, request: answers.encoders(camera.main, camera.sub),
            (TRT, "GetStreamUri"): self._stream_uri,
            (TRT, "GetSnapshotUri"): self._snapshot_uri,
            (TEV, "CreatePullPointSubscription"): lambda call, request: events.create(call, self._base(request)),
        }

    def forget(self) -> None:
        """A reboot: nonces and subscriptions are gone."""
        self._tokens = TokenGate(text_only=self._auth is OnvifAuth.WS_TEXT)
        self._digests = DigestGate("simcam", qop=True)
        self._events.close()

    async def handle(self, request: WebRequest) -> WebResponse:
        """Answers one request."""
        if request.path == SNAPSHOT_PATH and request.method == "GET":
            return await self._snapshot(request)
        if not request.path.startswith("/onvif/") or request.method != "POST":
            return WebResponse(404)
        try:
            call = parse(request.body)
            refusal = self._refusal(call, request)
            if refusal is not None:
                return refusal
            return WebResponse(200, await self._answer(call, request), CONTENT_TYPE)
        except SoapFault as fault:
            return WebResponse(fault.status, fault.encode(), CONTENT_TYPE)

    async def _answer(self, call: SoapCall, request: WebRequest) -> bytes:
        if request.path.startswith(SUBSCRIPTION_PATH) and call.namespace in {TEV, WSNT}:
            return await self._events.on_subscription(call, request.path)
        operation = self._operations.get((call.namespace, call.name))
        if operation is None:
            raise SoapFault("ter:ActionNotSupported", "no such operation", 500, "s:Receiver")
        return operation(call, request)

    def _refusal(self, call: SoapCall, request: WebRequest) -> WebResponse | None:
        if call.namespace == TDS and call.name in PRE_AUTH:
            return None
        camera = self._camera
        in_header, by_digest = "missing", "missing"
        if self._auth is not OnvifAuth.HTTP_DIGEST:
            in_header = self._tokens.refusal(call.header, camera.username, camera.password, camera.clock.now())
            if not in_header:
                return None
        if self._auth in {OnvifAuth.ANY, OnvifAuth.HTTP_DIGEST}:
            by_digest = self._http_refusal(request)
            if not by_digest:
                return None
        return self._not_authorized(in_header, by_digest)

    def _not_authorized(self, in_header: str, by_digest: str) -> WebResponse:
        fault = SoapFault("ter:NotAuthorized", "Sender not authorized")
        if self._auth is OnvifAuth.HTTP_DIGEST:
            challenge = {"WWW-Authenticate": self._digests.challenge(stale=by_digest == "stale")}
            return WebResponse(401, HTML_401, "text/html", challenge)
        if self._auth is OnvifAuth.ANY and in_header == "missing":
            challenge = {"WWW-Authenticate": self._digests.challenge(stale=by_digest == "stale")}
            return WebResponse(401, fault.encode(), CONTENT_TYPE, challenge)
        return WebResponse(400, fault.encode(), CONTENT_TYPE)

    def _http_refusal(self, request: WebRequest) -> str:
        given = request.headers.get("authorization", "")
        return self._digests.refusal(
            given, request.method, request.target, self._camera.username, self._camera.password
        )

    async def _snapshot(self, request: WebRequest) -> WebResponse:
        why = self._http_refusal(request)
        if why:
            challenge = {"WWW-Authenticate": self._digests.challenge(stale=why == "stale")}
            return WebResponse(401, HTML_401, "text/html", challenge)
        return WebResponse(200, await self._camera.snapshot(), "image/jpeg")

    def _host(self, request: WebRequest) -> str:
        return self._announced_host or request.address.rpartition(":")[0]

    def _base(self, request: WebRequest) -> str:
        return f"http://{self._host(request)}:{request.address.rpartition(':')[2]}"

    def _mount_of(self, call: SoapCall) -> str:
        token = call.text("ProfileToken")
        if token not in answers.TOKENS:
            raise SoapFault("ter:NoProfile", "no such profile")
        return answers.TOKENS[token]

    def _stream_uri(self, call: SoapCall, request: WebRequest) -> bytes:
        uri = f"rtsp://{self._host(request)}:{self._camera.rtsp_port}/{self._mount_of(call)}"
        return answers.media_uri("GetStreamUri", uri)

    def _snapshot_uri(self, call: SoapCall, request: WebRequest) -> bytes:
        self._mount_of(call)
        return answers.media_uri("GetSnapshotUri", self._base(request) + SNAPSHOT_PATH)

    def _set_time(self, call: SoapCall, request: WebRequest) -> bytes:
        if call.text("DateTimeType") == "NTP":
            self._camera.clock.go_wrong(0.0)
            return answers.empty("tds:SetSystemDateAndTime")
        parts = [call.text(name) for name in ("Year", "Month", "Day", "Hour", "Minute", "Second")]
        try:
            year, month, day, hour, minute, second = (int(part or "") for part in parts)
            at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            raise SoapFault("ter:InvalidDateTime", "not a date and time") from error
        self._camera.clock.set(at)
        return answers.empty("tds:SetSystemDateAndTime")

    def _reboot(self, call: SoapCall, request: WebRequest) -> bytes:
        self._camera.reboot_soon()
        return answers.reboot()
