"""What can be made to go wrong with a camera, as data: the body of POST /cameras/{i}/faults and the Python API's fault()."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Fault(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WrongClock(_Fault):
    """The camera's clock is off by `offset_s` and drifts; ONVIF, WS-Security freshness and RTCP reports all follow it."""

    kind: Literal["clock"] = "clock"
    offset_s: float = Field(default=0.0, ge=-3e8, le=3e8)
    drift_ppm: float = Field(default=0.0, ge=-1e5, le=1e5)


class FpsLie(_Fault):
    """SDP and ONVIF declare `declared`, which is not the true rate. `timestamps`: the RTP timestamps step by it too."""

    kind: Literal["fps_lie"] = "fps_lie"
    declared: float = Field(gt=0, le=240)
    timestamps: bool = False


class Drop(_Fault):
    """RTSP connections break and new ones are refused for `seconds`; ONVIF stays."""

    kind: Literal["drop"] = "drop"
    seconds: float = Field(default=5.0, ge=0, le=86_400)


class Freeze(_Fault):
    """The same picture goes on."""

    kind: Literal["freeze"] = "freeze"


class Black(_Fault):
    """A black picture, as with a covered lens."""

    kind: Literal["black"] = "black"


class NewPassword(_Fault):
    """The password changes and open sessions end."""

    kind: Literal["password"] = "password"
    password: str = Field(min_length=1, max_length=200, repr=False)


class Reboot(_Fault):
    """Everything is away for `seconds`: RTSP, ONVIF, subscriptions, nonces. The wrong clock survives, as in real ones."""

    kind: Literal["reboot"] = "reboot"
    seconds: float = Field(default=5.0, ge=0, le=86_400)


class SlowLink(_Fault):
    """Each RTSP client gets at most `bits_per_s`, and everything `delay_ms` late."""

    kind: Literal["slow"] = "slow"
    bits_per_s: float | None = Field(default=None, ge=1000)
    delay_ms: float = Field(default=0.0, ge=0, le=60_000)


class Clear(_Fault):
    """All is well again: clock, rate, picture, link, password."""

    kind: Literal["clear"] = "clear"


Fault = WrongClock | FpsLie | Drop | Freeze | Black | NewPassword | Reboot | SlowLink | Clear
FAULTS: TypeAdapter[Fault] = TypeAdapter(Annotated[Fault, Field(discriminator="kind")])
