"""One byte string per JSON value: sorted keys, no spaces, ASCII. What hashes and signatures are made over."""

import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Canonical bytes of a JSON value (dicts, lists, str, int, bool, None; no floats where it matters)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
