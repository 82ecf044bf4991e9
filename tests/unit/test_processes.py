"""Ports, marks of processes and the supervisor's handling of children, with real small processes."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from hub.embedded.ports import choose, is_free, remembered
from hub.embedded.process import ChildSpec, ProcessMark, end_leftovers, write_marks
from hub.embedded.supervisor import Supervisor
from hub.errors import Unavailable
from tests.hub_process import alive
from tests.servers import wait_until

SLEEPER = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_DFL)\nopen('up', 'w').close()\ntime.sleep(600)"
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('up', 'w').close()\ntime.sleep(600)"


def spec(folder: Path, program: str, name: str = "child", *, stop_s: float = 5.0, ready_s: float = 20.0) -> ChildSpec:
    ready = folder / "up"

    async def probe() -> bool:
        return ready.exists()

    return ChildSpec(
        name=name,
        argv=(sys.executable, "-c", program),
        cwd=folder,
        probe=probe,
        log_path=folder / f"{name}.log",
        stop_timeout_s=stop_s,
        ready_timeout_s=ready_s,
        ready_file=ready,
    )


def test_ports_are_chosen_once_and_kept(tmp_path: Path) -> None:
    first = choose(tmp_path / "p.json", ("a", "b"))
    assert first["a"] != first["b"]
    assert choose(tmp_path / "p.json", ("a", "b", "c")) == {**first, "c": remembered(tmp_path / "p.json")["c"]}


def test_a_port_somebody_took_is_chosen_anew_and_the_others_stay(tmp_path: Path) -> None:
    first = choose(tmp_path / "p.json", ("a", "b"))
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", first["a"]))
        squatter.listen()
        assert not is_free(first["a"])
        second = choose(tmp_path / "p.json", ("a", "b"))
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]


async def test_a_child_that_dies_is_started_again_and_told_of(tmp_path: Path) -> None:
    lines: list[str] = []
    async with Supervisor(tmp_path / "marks.json", lines.append) as supervisor:
        await supervisor.start(spec(tmp_path, SLEEPER))
        first = supervisor.pids()["child"]
        os.kill(first, signal.SIGKILL)

        async def back() -> bool:
            return supervisor.restarts("child") == 1

        await wait_until(back)
        second = supervisor.pids()["child"]
        assert second != first
    assert alive([first, second]) == []
    assert any("ended (-9)" in line for line in lines)
    assert any("is back after" in line for line in lines)
    assert not (tmp_path / "marks.json").exists()


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "marks.json") as supervisor:
        await supervisor.start(spec(tmp_path, DEAF, stop_s=0.3))
        pid = supervisor.pids()["child"]
    assert alive([pid]) == []


async def test_a_child_that_ends_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "marks.json") as supervisor:
        with pytest.raises(Unavailable, match="no such disk") as error:
            await supervisor.start(spec(tmp_path, "raise SystemExit('no such disk')"))
    assert error.value.code == "embedded.died"


async def test_a_child_that_never_answers_is_an_error_and_is_ended(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "marks.json") as supervisor:
        with pytest.raises(Unavailable) as error:
            await supervisor.start(spec(tmp_path, "import time; time.sleep(600)", ready_s=0.3))
        pid = supervisor.pids()["child"]
    assert error.value.code == "embedded.not_ready"
    assert alive([pid]) == []


async def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    """kill -9 of the supervisor: the kernel ends the child."""
    program = f"""
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {str(Path.cwd())!r})
from hub.embedded.supervisor import Supervisor
from tests.unit.test_processes import SLEEPER, spec
async def main():
    async with Supervisor(Path({str(tmp_path)!r}) / "marks.json") as supervisor:
        await supervisor.start(spec(Path({str(tmp_path)!r}), SLEEPER))
        print(supervisor.pids()["child"], flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert parent.stdout is not None
    lines = [line async for line in _lines_until_pid(parent.stdout)]
    pid = int(lines[-1])
    assert alive([pid]) == [pid]
    parent.kill()
    await parent.wait()

    async def gone() -> bool:
        return alive([pid]) == []

    await wait_until(gone)


async def _lines_until_pid(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    while line := (await stream.readline()).decode().strip():
        yield line
        if line.isdigit():
            return


async def test_leftovers_of_a_killed_predecessor_are_ended_but_no_stranger_is(tmp_path: Path) -> None:
    left = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")
    started = psutil.Process(left.pid).create_time()
    marks = [
        ProcessMark("left", left.pid, started, 5.0),
        # The pid was given to somebody else since: it began at another time.
        ProcessMark("reused", stranger.pid, time.time() - 10_000, 5.0),
        ProcessMark("gone", 2**22 - 1, started, 5.0),
    ]
    write_marks(tmp_path / "marks.json", marks)
    assert await end_leftovers(tmp_path / "marks.json") == ["left"]
    assert await left.wait() == -signal.SIGTERM
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()
