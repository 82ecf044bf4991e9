"""What the agent says of itself: presence for the hub, `status.json` for the command line, samples for Prometheus."""

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from edge_agent.analytics.service import AnalystMetrics
from edge_agent.consent.gate import PAUSED, ConsentGate
from edge_agent.devices.inventory import Inventory
from edge_agent.kit.clock import utc_now
from edge_agent.kit.files import write_private
from edge_agent.kit.ids import new_id
from edge_agent.observability import Sample
from edge_agent.spool import clips, outbox
from edge_agent.spool.outbox import Totals
from edge_agent.spool.store import Spool, losses
from edge_agent.uplink.service import Uplink
from edge_agent.upload.cutter import Cutter
from models.vocabulary import CameraState
from models.wire.downlink import DesiredCamera
from models.wire.uplink import CameraReport, Presence

STATUS_FILE = "status.json"
STATUS_RENEWED_S = 10.0  # unchanged, it is still written this often: `written_at` and the counters move


class Reports(Protocol):
    """What capture observes (`Recordings.report`)."""

    def report(self, camera_id: UUID) -> CameraReport:
        """What is observed of the camera now."""


@dataclass(frozen=True)
class Held:
    """What the spool holds, read in one transaction."""

    outbox: Totals
    clips: dict[str, int]
    clip_bytes: int
    losses: dict[str, int]

    @property
    def files_to_send(self) -> int:
        """Clips planned or sealed and not yet verified."""
        return sum(self.clips.get(state, 0) for state in ("open", "planned", "sealed", "announced", "uploaded"))


def read_held(db: sqlite3.Connection) -> Held:
    """For `Spool.run`, or a reader's own connection."""
    return Held(outbox.totals(db), clips.counts(db), clips.bytes_kept(db), losses(db))


class Reporter:
    """Gathers; changes nothing."""

    def __init__(
        self,
        spool: Spool,
        gate: ConsentGate,
        inventory: Inventory,
        capture: Reports,
        cutter: Cutter,
        version: str,
        data_dir: Path,
    ) -> None:
        self._spool = spool
        self._gate = gate
        self._inventory = inventory
        self._capture = capture
        self._cutter = cutter
        self._version = version
        self._data_dir = data_dir
        self._started_at = utc_now()
        self._paused_since: dict[UUID, datetime] = {}
        self.uplink: Uplink | None = None
        self.analytics_code = "detector.loading"
        self.restarts: Callable[[], dict[str, int]] = dict
        self.analyst_metrics: Callable[[UUID | None], AnalystMetrics] | None = None
        self._written: tuple[object, float] = (None, 0.0)
        self._held = Held(Totals(0, 0), {}, 0, {})
        self._presence: Presence | None = None

    async def presence(self) -> Presence:
        """What is observed now."""
        self._held = await self._spool.run(read_held)
        desired = self._gate.desired
        wanted = [] if desired is None else desired.cameras
        self._presence = Presence(
            id=new_id(),
            at=utc_now(),
            started_at=self._started_at,
            version=self._version,
            desired_version=0 if desired is None else desired.version,
            outbox_messages=self._held.outbox.count,
            outbox_files=self._held.files_to_send,
            disk_free_bytes=shutil.disk_usage(self._data_dir).free,
            cameras=[self._camera(camera) for camera in wanted],
        )
        return self._presence

    def _camera(self, camera: DesiredCamera) -> CameraReport:
        seen = self._capture.report(camera.camera_id)
        trouble = self._inventory.trouble_of(camera.camera_id)
        state, since, detail = seen.state, seen.since, seen.detail
        if state is CameraState.DISABLED:  # wanted by the hub, but no source could be made of it
            state, detail = CameraState.OFFLINE, trouble or "device.unknown"
        if self._gate.refuse(camera.camera_id, "clips") == PAUSED:
            since = self._paused_since.setdefault(camera.camera_id, utc_now())
            state = CameraState.PAUSED
        else:
            self._paused_since.pop(camera.camera_id, None)
        return seen.model_copy(
            update={
                "state": state,
                "since": since,
                "detail": (detail or self._own_trouble(camera))[:300],
                "clock": self._inventory.clock_of(camera.camera_id),
                "consent_version": self._gate.consent_version(camera.camera_id),
            }
        )

    def _own_trouble(self, camera: DesiredCamera) -> str:
        """Trouble of the agent itself that this camera suffers from."""
        if self._cutter.full:
            return "spool.full"
        if any(reason.startswith("outbox_full") for reason in self._held.losses) and self._held.outbox.count > 1000:
            return "spool.outbox_full"
        return self.analytics_code if camera.analytics.enabled else ""

    async def write_status(self) -> None:
        """Renews `status.json` when a state has changed, or every ten seconds."""
        presence = await self.presence()
        status: dict[str, Any] = {
            "pid": os.getpid(),
            "uplink": self.uplink.state if self.uplink is not None else "uplink.starting",
            "analytics": self.analytics_code or "running",
            "devices": self._inventory.states(),
            "restarts": self.restarts(),
        }
        gist = (status, [(one.camera_id, one.state, one.detail) for one in presence.cameras])
        now = time.monotonic()
        if gist == self._written[0] and now - self._written[1] < STATUS_RENEWED_S:
            return
        moving = {
            "written_at": presence.at.isoformat(),
            "presence": presence.model_dump(mode="json"),
            "analyst": None if self.analyst_metrics is None else _analyst(self.analyst_metrics(None)),
        }
        # Not synced: it tells of this process only, which a power cut ends too. SD cards wear out.
        write_private(self._data_dir / STATUS_FILE, json.dumps(status | moving), sync=False)
        self._written = (gist, now)

    def samples(self) -> Iterator[Sample]:
        """Metrics, from what was last gathered (no work of its own: called from another thread)."""
        held = self._held
        yield "outbox_messages", {}, held.outbox.count
        yield "outbox_bytes", {}, held.outbox.size_bytes
        yield "clip_bytes", {}, held.clip_bytes
        for state, count in held.clips.items():
            yield "clips", {"status": state}, count
        for reason, count in held.losses.items():
            yield "lost", {"reason": reason}, count
        if self.analyst_metrics is not None:
            for camera in self._presence.cameras if self._presence is not None else []:
                labels = {"camera_id": str(camera.camera_id)}
                yield from _analyst_samples(self.analyst_metrics(camera.camera_id), labels)
        for worker, count in self.restarts().items():
            yield "worker_restarts", {"worker": worker}, count
        if self.uplink is not None:
            yield "uplink_connected", {}, float(self.uplink.connected)
            for kind, count in dict(self.uplink.refused.by_kind).items():
                yield "downlink_refused", {"kind": kind}, count
        if self._presence is not None:
            for camera in self._presence.cameras:
                labels = {"camera_id": str(camera.camera_id), "state": camera.state.value}
                yield "camera_state", labels, 1.0


_COUNTED = ("offered", "passed_over", "dropped", "looked_at", "detected", "failed", "sightings", "events")


def _analyst(seen: AnalystMetrics) -> dict[str, float]:
    """What `status` shows of analytics."""
    return asdict(seen) | {"gate_pass_rate": round(seen.gate_pass_rate, 4), "detect_ms": round(seen.detect_ms, 2)}


def _analyst_samples(seen: AnalystMetrics, labels: dict[str, str]) -> Iterator[Sample]:
    """Counters of one camera; frames by what became of them, and where the time went."""
    for name in _COUNTED:
        yield f"analytics_{name}", labels, getattr(seen, name)
    yield "analytics_look_seconds", labels, seen.look_ms_total / 1000
    yield "analytics_detect_seconds", labels, seen.detect_ms_total / 1000
