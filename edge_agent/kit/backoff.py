"""Exponential back-off with jitter, so that a village of agents does not knock in step."""

import random


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
