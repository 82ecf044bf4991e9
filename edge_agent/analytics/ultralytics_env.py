"""The environment in which the `ultralytics` package is used here: it stays at home.

It reads these variables once, when it is first imported; so everything that imports it calls `be_quiet` before.
"""

import os
import sys
from pathlib import Path

from edge_agent.errors import AgentError


def quiet_environment(folder: Path) -> dict[str, str]:
    """Variables for a process that uses ultralytics; `folder` takes its settings file."""
    return {
        "ULTRALYTICS_SAFE_LOAD": "1",  # a .pt is a pickle: rebuild known layer classes only, run nothing
        "YOLO_OFFLINE": "true",  # no telemetry, no update checks, no downloads
        "YOLO_AUTOINSTALL": "false",  # never runs pip by itself
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(folder),
    }


def be_quiet(folder: Path) -> None:
    """Sets the variables in this process and switches its reporting off. Needs the extra `ml`. `folder` must stay.

    Raises:
        AgentError: `detector.runtime_missing` without ultralytics; `detector.runtime_unsafe` when somebody imported it
            before without safe loading.
    """
    if "ultralytics" not in sys.modules:
        os.environ.update(quiet_environment(folder))
    try:
        from ultralytics.utils import AUTOINSTALL, ONLINE, SAFE_LOAD, SETTINGS
    except ImportError as error:
        raise AgentError("detector.runtime_missing", f"ultralytics (extra ml): {error}") from error
    if not SAFE_LOAD or ONLINE or AUTOINSTALL:
        raise AgentError("detector.runtime_unsafe", "ultralytics was imported before with other settings")
    if SETTINGS.get("sync"):
        SETTINGS["sync"] = False
