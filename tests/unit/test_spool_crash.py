"""kill -9 at any moment loses and doubles nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(300)
def test_a_kill_before_any_single_step_leaves_every_clip_sealed_once_and_every_message_said(tmp_path: Path) -> None:
    """Proves: whichever SQL statement, fsync or rename the kill precedes, the restarted agent ends where an undisturbed one does:
    each clip sealed exactly once, one whole chain, each sighting finished, nothing left waiting."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.spool_crash", str(tmp_path), "1"],
        capture_output=True,
        check=True,
        timeout=280,
    )
    results = json.loads(done.stdout)
    assert len(results) > 120, "the play has many steps; all of them were tried"
    undisturbed = results[-1] | {"killed_before_step": 0}
    assert undisturbed["states"] == {"verified": 2}
    assert len(undisturbed["clips"]) == 2
    assert (undisturbed["chain"], undisturbed["hashes"], undisturbed["head"]) == (True, True, 2)
    assert (undisturbed["final_sightings"], undisturbed["left"]) == (2, 0)
    for result in results:
        assert result | {"killed_before_step": 0} == undisturbed, result
