"""The folder rules hold, and each of them would notice if they did not."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hub", "edge_agent", "models", "deploy")

# One violation for each contract: the file it is put into, and the line.
VIOLATIONS = {
    "1": ("edge_agent/errors.py", "import hub.errors"),
    "2": ("models/keys.py", "import httpx"),
    "3": ("hub/kit/ids.py", "import hub.identity.model"),
    "4": ("hub/clips/model.py", "import hub.clips.service"),
    "5": ("hub/search/service.py", "import sqlalchemy"),
    "6": ("hub/clips/service.py", "import fastapi"),
    "7": ("hub/clips/service.py", "import minio"),
    "8": ("edge_agent/spool/store.py", "import av"),
    "9": ("edge_agent/kit/ids.py", "import starlette"),
    "10": ("hub/cameras/service.py", "import hub.settings"),
    "11": ("edge_agent/spool/store.py", "import edge_agent.uplink.port"),
    "12": ("hub/ingest/service.py", "import hub.storage.minio"),
}


def lint(folder: Path) -> dict[str, str]:
    """Runs import-linter on the packages below `folder`: contract number → KEPT or BROKEN."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--config", "pyproject.toml", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = dict(re.findall(r"^(\d+)\. .*?(KEPT|BROKEN)", done.stdout, re.MULTILINE))
    assert found, done.stdout + done.stderr
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages' sources."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=lambda folder, names: {n for n in names if n in {"ui", "static"}}
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_folder_rules_hold(tree: Path) -> None:
    verdicts = lint(tree)
    assert set(verdicts) == set(VIOLATIONS)
    assert set(verdicts.values()) == {"KEPT"}


def test_each_rule_breaks_when_it_is_violated(tree: Path) -> None:
    for path, line in VIOLATIONS.values():
        file = tree / path
        file.write_text(f"{file.read_text(encoding='utf-8')}\n{line}  # noqa\n", encoding="utf-8")
    verdicts = lint(tree)
    assert {number for number, verdict in verdicts.items() if verdict == "KEPT"} == set()
