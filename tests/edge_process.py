"""The agent as a process of its own, as `qianshao-edge run` starts it, and at each live camera something happens
every few seconds (a sighting, then an event), so that a test does not hang on what a detector sees.

    python -m tests.edge_process DATA EVERY_S
"""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

from edge_agent.analytics.port import EventClosed
from edge_agent.app import Agent
from edge_agent.cli import end_now
from edge_agent.devices.adapter import OnvifProber
from edge_agent.kit.clock import utc_now
from edge_agent.kit.ids import new_id
from edge_agent.live.publisher import LivePublisher
from edge_agent.observability import configure_logging
from edge_agent.settings import Settings
from edge_agent.spool.lock import sole_owner
from edge_agent.supervisor import Worker
from edge_agent.uplink.identity import load_identity, load_key
from models.vocabulary import CameraState
from tests.edge_samples import sighting

EVENT = timedelta(seconds=3)


async def happen(agent: Agent, every_s: float) -> None:
    """Events at every camera whose packets arrive."""
    while True:
        await asyncio.sleep(every_s)
        presence = await agent.reporter.presence()
        for camera in presence.cameras:
            if camera.state not in (CameraState.LIVE, CameraState.PAUSED):
                continue
            now = utc_now()
            event, seen_id = new_id(), new_id()
            span = {"start_at": now - EVENT, "end_at": now, "best_at": now - EVENT / 2, "clip_id": event}
            for revision, final in ((1, False), (2, True)):
                agent.on_sighting(sighting(seen_id, revision, camera_id=camera.camera_id, final=final, **span))
            agent.on_event(EventClosed(event, camera.camera_id, now - EVENT, now, (seen_id,)))


async def main(data: Path, every_s: float) -> None:
    settings = Settings(data_dir=data)
    identity = load_identity(data)
    assert identity is not None
    agent = Agent(settings, identity, load_key(data), OnvifProber(), LivePublisher)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    await agent.run((Worker("happenings", lambda: happen(agent, every_s)),))


if __name__ == "__main__":
    configure_logging("json")
    with sole_owner(Path(sys.argv[1])):
        asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
    end_now()
