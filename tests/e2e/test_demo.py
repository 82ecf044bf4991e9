"""`make demo ARGS="--check"` is the main job end to end; here it runs as a newcomer's command does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(900)]


def test_the_demo_proves_itself_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.demo", "--check", "--work", "45", "--data", str(tmp_path / "village")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["cameras"] == 4
    assert result["classes"]["person"] > 0
    assert result["clips_verified"] == result["clips"] >= 4
    assert result["live_frames_decoded"] > 50
    assert result["processes_left"] == 0
