"""Words for logs and terminals: a trouble is said once, and what people typed cannot forge a line."""

from __future__ import annotations

import re

_FIGURE = re.compile(r"(?<![\w.])\d+(\.\d+)?(?!\w)")  # not that of a name, such as 8UC3 or camera2


def shown(text: str, most: int | None = None) -> str:
    """What somebody typed, on one line: characters that move the cursor or hide others become blanks; cut after `most`."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if most is None or len(text) <= most else text[:most] + "..."


class OnChange:
    """Logs sentences about subjects, each only when it says something else than the one before on that subject.

    The same words with other figures say the same: a camera that is silent for 3.1 s, then for 4.1 s, is one trouble.
    log: a logger with info and warning.
    """

    def __init__(self, log):
        self._log = log
        self._said: dict[str, str] = {}

    def warn(self, subject: str, sentence: str) -> None:
        """A trouble."""
        if self._is_new(subject, sentence):
            self._log.warning(sentence)

    def clear(self, subject: str, sentence: str = "") -> None:
        """The subject's trouble is over; `sentence` is said only if there was one."""
        if self._said.pop(subject, "") and sentence:
            self._log.info(sentence)

    def _is_new(self, subject: str, sentence: str) -> bool:
        words = _FIGURE.sub("#", sentence)
        if self._said.get(subject) == words:
            return False
        self._said[subject] = words
        return True
