"""The page's API types, made from the hub's OpenAPI: `python -m deploy.openapi` writes them, `--check` compares."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UI = ROOT / "hub" / "web" / "ui"
TYPES = UI / "src" / "api" / "schema.d.ts"


def make_types() -> str:
    """The TypeScript of the present OpenAPI document."""
    document = subprocess.run(
        [str(Path(sys.executable).with_name("qianshao-hub")), "openapi"], capture_output=True, text=True, check=True
    ).stdout
    json.loads(document)
    path = f"{ROOT / '.venv' / 'node'}:{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "openapi.json", Path(folder) / "schema.d.ts"
        source.write_text(document, "utf-8")
        subprocess.run(
            ["npx", "--no-install", "openapi-typescript", str(source), "--output", str(target)],
            cwd=UI,
            env={**os.environ, "PATH": path},
            check=True,
            capture_output=True,
        )
        return target.read_text("utf-8")


def main() -> int:
    """Writes, or with `--check` tells whether what is committed is current."""
    wanted = make_types()
    current = TYPES.read_text("utf-8") if TYPES.exists() else ""
    if "--check" in sys.argv:
        if wanted != current:
            print("hub/web/ui/src/api/schema.d.ts is not current: run `make openapi`", file=sys.stderr)
            return 1
        print("API types are current")
        return 0
    TYPES.write_text(wanted, "utf-8")
    print(f"{TYPES.relative_to(ROOT)}: {'unchanged' if wanted == current else 'written'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
