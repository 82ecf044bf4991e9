"""The bodies of ONVIF answers (device, media): plain XML text, everything variable escaped."""

from datetime import UTC, datetime
from urllib.parse import quote

from deploy.simcam.mount import Mount
from deploy.simcam.soap import TDS, TEV, TRT, envelope, escape

MANUFACTURER = "Qianshao"
MODEL = "SimCam"
FIRMWARE = "1.0"
TOKENS = {"profile_main": "main", "profile_sub": "sub"}


def empty(operation: str) -> bytes:
    """An answer that says only that it is done."""
    return envelope(f"<{operation}Response/>")


def system_time(now: datetime) -> bytes:
    """GetSystemDateAndTime, to the second, as ONVIF's type has it."""
    now = now.astimezone(UTC)
    time = f"<tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute><tt:Second>{now.second}</tt:Second>"
    date = f"<tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day>"
    return envelope(
        "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType>"
        "<tt:DaylightSavings>false</tt:DaylightSavings><tt:TimeZone><tt:TZ>CST-8</tt:TZ></tt:TimeZone>"
        f"<tt:UTCDateTime><tt:Time>{time}</tt:Time><tt:Date>{date}</tt:Date></tt:UTCDateTime>"
        "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
    )


def device_information(serial: str) -> bytes:
    """GetDeviceInformation."""
    return envelope(
        f"<tds:GetDeviceInformationResponse><tds:Manufacturer>{MANUFACTURER}</tds:Manufacturer>"
        f"<tds:Model>{MODEL}</tds:Model><tds:FirmwareVersion>{FIRMWARE}</tds:FirmwareVersion>"
        f"<tds:SerialNumber>{escape(serial)}</tds:SerialNumber><tds:HardwareId>simulated</tds:HardwareId>"
        "</tds:GetDeviceInformationResponse>"
    )


def capabilities(base: str) -> bytes:
    """GetCapabilities: device, events and media with their XAddrs."""
    base = escape(base)
    return envelope(
        "<tds:GetCapabilitiesResponse><tds:Capabilities>"
        f"<tt:Device><tt:XAddr>{base}/onvif/device_service</tt:XAddr></tt:Device>"
        f"<tt:Events><tt:XAddr>{base}/onvif/event_service</tt:XAddr>"
        "<tt:WSSubscriptionPolicySupport>false</tt:WSSubscriptionPolicySupport>"
        "<tt:WSPullPointSupport>true</tt:WSPullPointSupport>"
        "<tt:WSPausableSubscriptionManagerInterfaceSupport>false</tt:WSPausableSubscriptionManagerInterfaceSupport>"
        f"</tt:Events><tt:Media><tt:XAddr>{base}/onvif/media_service</tt:XAddr><tt:StreamingCapabilities>"
        "<tt:RTPMulticast>false</tt:RTPMulticast><tt:RTP_TCP>true</tt:RTP_TCP><tt:RTP_RTSP_TCP>true</tt:RTP_RTSP_TCP>"
        "</tt:StreamingCapabilities></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>"
    )


def services(base: str) -> bytes:
    """GetServices."""
    listed = "".join(
        f"<tds:Service><tds:Namespace>{space}</tds:Namespace><tds:XAddr>{escape(base)}/onvif/{name}_service</tds:XAddr>"
        "<tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version></tds:Service>"
        for space, name in ((TDS, "device"), (TRT, "media"), (TEV, "event"))
    )
    return envelope(f"<tds:GetServicesResponse>{listed}</tds:GetServicesResponse>")


def scope_uris(name: str) -> list[str]:
    """What the device says of itself in discovery and GetScopes."""
    return [
        "onvif://www.onvif.org/type/video_encoder",
        "onvif://www.onvif.org/Profile/Streaming",
        f"onvif://www.onvif.org/hardware/{MODEL}",
        f"onvif://www.onvif.org/name/{quote(name)}",
    ]


def scopes(name: str) -> bytes:
    """GetScopes."""
    listed = "".join(
        f"<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef><tt:ScopeItem>{escape(uri)}</tt:ScopeItem></tds:Scopes>"
        for uri in scope_uris(name)
    )
    return envelope(f"<tds:GetScopesResponse>{listed}</tds:GetScopesResponse>")


def hostname(serial: str) -> bytes:
    """GetHostname."""
    return envelope(
        "<tds:GetHostnameResponse><tds:HostnameInformation><tt:FromDHCP>false</tt:FromDHCP>"
        f"<tt:Name>{escape(serial.lower())}</tt:Name></tds:HostnameInformation></tds:GetHostnameResponse>"
    )


def reboot() -> bytes:
    """SystemReboot."""
    return envelope("<tds:SystemRebootResponse><tds:Message>Rebooting</tds:Message></tds:SystemRebootResponse>")


def video_sources(main: Mount) -> bytes:
    """GetVideoSources: one."""
    clip = main.clip
    return envelope(
        f'<trt:GetVideoSourcesResponse><trt:VideoSources token="vs0"><tt:Framerate>{float(main.declared_fps):g}'
        f"</tt:Framerate><tt:Resolution><tt:Width>{clip.width}</tt:Width><tt:Height>{clip.height}</tt:Height>"
        "</tt:Resolution></trt:VideoSources></trt:GetVideoSourcesResponse>"
    )


def profiles(main: Mount, sub: Mount) -> bytes:
    """GetProfiles: main and sub, of one source."""
    listed = "".join(
        f'<trt:Profiles token="profile_{name}" fixed="true"><tt:Name>{name}</tt:Name>'
        '<tt:VideoSourceConfiguration token="vsc0"><tt:Name>source</tt:Name><tt:UseCount>2</tt:UseCount>'
        "<tt:SourceToken>vs0</tt:SourceToken>"
        f'<tt:Bounds x="0" y="0" width="{main.clip.width}" height="{main.clip.height}"/></tt:VideoSourceConfiguration>'
        f"{_encoder(name, mount, 'tt:VideoEncoderConfiguration')}</trt:Profiles>"
        for name, mount in (("main", main), ("sub", sub))
    )
    return envelope(f"<trt:GetProfilesResponse>{listed}</trt:GetProfilesResponse>")


def encoders(main: Mount, sub: Mount) -> bytes:
    """GetVideoEncoderConfigurations."""
    listed = _encoder("main", main, "trt:Configurations") + _encoder("sub", sub, "trt:Configurations")
    return envelope(f"<trt:GetVideoEncoderConfigurationsResponse>{listed}</trt:GetVideoEncoderConfigurationsResponse>")


def _encoder(name: str, mount: Mount, element: str) -> str:
    clip, fps = mount.clip, round(mount.declared_fps)
    return (
        f'<{element} token="encoder_{name}"><tt:Name>{name}</tt:Name><tt:UseCount>1</tt:UseCount>'
        f"<tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>{clip.width}</tt:Width>"
        f"<tt:Height>{clip.height}</tt:Height></tt:Resolution><tt:Quality>5</tt:Quality><tt:RateControl>"
        f"<tt:FrameRateLimit>{fps}</tt:FrameRateLimit><tt:EncodingInterval>1</tt:EncodingInterval>"
        "<tt:BitrateLimit>2500</tt:BitrateLimit></tt:RateControl>"
        f"<tt:H264><tt:GovLength>{fps}</tt:GovLength><tt:H264Profile>Baseline</tt:H264Profile></tt:H264>"
        "<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type><tt:IPv4Address>0.0.0.0</tt:IPv4Address></tt:Address>"
        "<tt:Port>0</tt:Port><tt:TTL>1</tt:TTL><tt:AutoStart>false</tt:AutoStart></tt:Multicast>"
        f"<tt:SessionTimeout>PT60S</tt:SessionTimeout></{element}>"
    )


def media_uri(operation: str, uri: str) -> bytes:
    """GetStreamUri and GetSnapshotUri."""
    return envelope(
        f"<trt:{operation}Response><trt:MediaUri><tt:Uri>{escape(uri)}</tt:Uri>"
        "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect><tt:InvalidAfterReboot>false</tt:InvalidAfterReboot>"
        f"<tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:{operation}Response>"
    )
