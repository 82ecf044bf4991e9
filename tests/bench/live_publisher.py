"""A camera and the agent's own publisher in a process. Part of `tests.bench.live`."""

import asyncio
import json
import signal
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from edge_agent.live.publisher import LivePublisher
from models.vocabulary import StreamName
from models.wire.downlink import LiveStart
from tests.bench.live import FPS, HEIGHT, KBPS, WIDTH
from tests.media.clips import encoded_clip
from tests.media.source import ClipSource


async def main() -> None:
    """Publishes to the URL given until ended."""
    url, gop = sys.argv[1], int(sys.argv[2])
    params, clip = encoded_clip(WIDTH, HEIGHT, FPS, 2 * gop, gop, KBPS, 24)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    with ClipSource(params, clip, FPS) as source:
        publisher = LivePublisher(source, lambda _: "", ice_hosts=("127.0.0.1",))
        wanted = LiveStart(
            session_id=uuid4(),
            camera_id=uuid4(),
            stream=StreamName.SUB,
            whip_url=f"{url}/whip",
            token="bench",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        reply = await publisher.start(wanted)
        print(json.dumps({"ok": reply.ok, "code": reply.code}), flush=True)
        await ended.wait()
        await publisher.close()


if __name__ == "__main__":
    asyncio.run(main())
