"""What live fan-out costs: CPU of the relay's process for 1, 5, 10, 20 viewers of one 720p stream.

    python -m tests.bench.live [--viewers 1,5,10,20] [--seconds 10] [--alone]   (--alone: one datagram per system call)

The relay, the publisher (the agent's own code) and the viewers are processes of their own. Viewers really connect (ICE, DTLS,
SRTP keys, receiver reports) but drop each RTP datagram unread, so that they do not compete with what is measured.
Prints one JSON object as its last line.
"""

import argparse
import asyncio
import json
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.media.clips import encoded_clip

WIDTH, HEIGHT, FPS, KBPS, GOP = 1280, 720, 25, 2000, 50
VIEWER_PROCESSES = 2
SETTLE_S = 3.0


class Child:
    """A process of this bench that talks JSON lines on its standard output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, module: str, *arguments: str) -> "Child":
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            raw = await self._process.stdout.readline()
        assert raw, "a child ended early"
        read: dict[str, Any] = json.loads(raw)
        return read

    async def ask(self) -> dict[str, Any]:
        """Any line on its input makes a viewer process report."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()
        return await self.line()

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), 5)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


def cpu_seconds(pid: int) -> float:
    """Time the process's threads have run so far (proc(5), task/*/schedstat: nanoseconds; stat counts in ticks of 10 ms)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


async def measure(relay: Child, url: str, viewers: int, seconds: float) -> dict[str, Any]:
    """CPU of the relay while `viewers` watch."""
    shares = [viewers // VIEWER_PROCESSES + (place < viewers % VIEWER_PROCESSES) for place in range(VIEWER_PROCESSES)]
    watching = [await Child.start("tests.bench.live_viewers", url, str(share)) for share in shares if share]
    try:
        ready = [await child.line() for child in watching]
        await asyncio.sleep(SETTLE_S)
        for child in watching:
            await child.ask()
        before, began = cpu_seconds(relay.pid), time.monotonic()
        await asyncio.sleep(seconds)
        spent, took = cpu_seconds(relay.pid) - before, time.monotonic() - began
        seen = [await child.ask() for child in watching]
    finally:
        for child in watching:
            await child.stop()
    firsts = [ms for line in ready for ms in line["first_packet_ms"]]
    rates = [rate for line in seen for rate in line["packets_per_s"]]
    return {
        "cpu_percent": round(100 * spent / took, 2),
        "first_packet_ms_median": round(statistics.median(firsts), 1),
        "first_packet_ms_max": round(max(firsts), 1),
        "packets_per_s_per_viewer": round(statistics.mean(rates), 1),
        "missing_packets": sum(sum(line["missing"]) for line in seen),
    }


async def main() -> None:
    """Runs the bench and prints its result."""
    arguments = _arguments()
    counts = [int(count) for count in arguments.viewers.split(",")]
    _, clip = encoded_clip(WIDTH, HEIGHT, FPS, 2 * GOP, GOP, KBPS, 24)
    relay = await Child.start("tests.bench.live_relay", *arguments.relay)
    publisher: Child | None = None
    try:
        url = (await relay.line())["url"]
        publisher = await Child.start("tests.bench.live_publisher", url, str(GOP))
        await publisher.line()
        before, began = cpu_seconds(relay.pid), time.monotonic()
        await asyncio.sleep(arguments.seconds)
        idle = round(100 * (cpu_seconds(relay.pid) - before) / (time.monotonic() - began), 2)
        results = {str(count): await measure(relay, url, count, arguments.seconds) for count in counts}
        async with httpx.AsyncClient(trust_env=False) as client:
            inside = (await client.get(f"{url}/inside")).json()
    finally:
        for child in (publisher, relay):
            if child is not None:
                await child.stop()
    cpu = {"0": idle, **{count: result["cpu_percent"] for count, result in results.items()}}
    most = max(counts)
    print(
        json.dumps(
            {
                "stream": f"{WIDTH}x{HEIGHT} {FPS} fps, key frame every {GOP / FPS:g} s",
                "kbit_per_s": round(sum(len(unit.data) for unit in clip) * 8 * FPS / len(clip) / 1000),
                "cpu_percent_of_core": cpu,
                "per_viewer": round((cpu[str(most)] - idle) / most, 3),
                "segmentation": not arguments.alone,
                "uvloop": arguments.uvloop,
                "seconds_each": arguments.seconds,
                "results": results,
                **inside,
            }
        )
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", default="1,5,10,20")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--alone", action="store_true", help="one datagram per system call")
    parser.add_argument("--uvloop", action="store_true", help="the relay on uvloop, as uvicorn chooses in a hub")
    arguments = parser.parse_args()
    arguments.relay = [
        flag for flag, wanted in (("--alone", arguments.alone), ("--uvloop", arguments.uvloop)) if wanted
    ]
    return arguments


if __name__ == "__main__":
    asyncio.run(main())
