"""Exponential back-off with jitter, so that a village of agents does not knock in step."""

import random
import time
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Backoff:
    """Rising waits in seconds: `first`, doubled each time up to `most`, each with 50–100 % jitter."""

    def __init__(self, first: float = 0.5, most: float = 30.0) -> None:
        self._first = first
        self._most = most
        self._next = first

    def reset(self) -> None:
        """It worked: the next wait is short again."""
        self._next = self._first

    def next_s(self) -> float:
        """How long to wait now."""
        wait = self._next
        self._next = min(self._most, self._next * 2)
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 - spreading load, not a secret


class Retries(Generic[Key]):
    """A back-off for each of many things that failed: when it may be tried again."""

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._waits: dict[Key, tuple[Backoff, float]] = {}

    def due(self, key: Key) -> bool:
        """Whether it may be tried now."""
        return key not in self._waits or self._waits[key][1] <= time.monotonic()

    def later(self, key: Key) -> None:
        """It failed: wait longer than last time."""
        backoff = self._waits[key][0] if key in self._waits else Backoff(self._first, self._most)
        self._waits[key] = (backoff, time.monotonic() + backoff.next_s())

    def settled(self, key: Key) -> None:
        """It worked, or is over."""
        self._waits.pop(key, None)

    def soon(self) -> None:
        """Circumstances changed (the network is back): all may be tried now."""
        self._waits.clear()
