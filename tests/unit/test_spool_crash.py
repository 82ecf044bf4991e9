"""kill -9 at any moment loses and doubles nothing."""

import json
import subprocess
import sys
from pathlib import Path


def test_a_kill_before_any_single_step_leaves_every_clip_sealed_once_and_every_message_said(tmp_path: Path) -> None:
    """Proves: whichever SQL statement, fsync or rename the kill precedes, the restarted agent ends where an undisturbed one does:
    each clip sealed exactly once, one whole chain, each sighting finished, nothing left waiting."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.spool_crash", str(tmp_path), "1"],
        capture_output=True,
        check=True,
        timeout=170,
    )
    results = json.loads(done.stdout)
    assert len(results) > 150, "the play has many steps; all of them were tried"
    undisturbed = results[-1] | {"killed_before_step": 0}
    assert undisturbed["states"] == {"verified": 3}
    assert len(undisturbed["clips"]) == 3
    assert (undisturbed["chain"], undisturbed["hashes"], undisturbed["head"]) == (True, True, 3)
    assert (undisturbed["final_sightings"], undisturbed["left"]) == (3, 0)
    for result in results:
        assert result | {"killed_before_step": 0} == undisturbed, result
