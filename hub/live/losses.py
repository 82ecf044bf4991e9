"""Which packets of an upstream are missing, and when to ask for them (RFC 4585 §6.2.1)."""

from dataclasses import dataclass

TRACKED = 256
TRIES = 6
AGAIN_AFTER_S = 0.1


@dataclass(slots=True)
class _Loss:
    tries: int = 0
    asked_at: float = 0.0


class LossList:
    """Missing sequence numbers (16 bit), each asked for a few times. Bounded: what is older is given up."""

    def __init__(self) -> None:
        self.given_up = 0
        self.recovered = 0
        self._highest: int | None = None
        self._missing: dict[int, _Loss] = {}

    def arrived(self, sequence: int) -> None:
        """A packet came; gaps before it are losses until they arrive."""
        if self._highest is None:
            self._highest = sequence
            return
        step = ((sequence - self._highest + 0x8000) & 0xFFFF) - 0x8000
        if step <= 0:
            if self._missing.pop(sequence, None) is not None:
                self.recovered += 1
            return
        if step > TRACKED:  # a jump: nothing to ask for
            self.given_up += len(self._missing)
            self._missing.clear()
        else:
            for gap in range(1, step):
                self._missing[(self._highest + gap) & 0xFFFF] = _Loss()
        self._highest = sequence
        while len(self._missing) > TRACKED:
            self._missing.pop(next(iter(self._missing)))
            self.given_up += 1

    def due(self, now: float) -> list[int]:
        """What to ask for now."""
        asked: list[int] = []
        for sequence, loss in list(self._missing.items()):
            if loss.tries >= TRIES:
                del self._missing[sequence]
                self.given_up += 1
            elif loss.tries == 0 or now - loss.asked_at >= AGAIN_AFTER_S:
                loss.tries += 1
                loss.asked_at = now
                asked.append(sequence)
        return sorted(asked)  # aiortc packs bit masks from rising numbers only
