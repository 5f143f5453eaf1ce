"""No network where none is allowed: `local_files_only` alone keeps libraries from fetching models, not from all else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants


@contextmanager
def network(allowed: bool) -> Iterator[None]:
    """Whether huggingface_hub may be asked for what is not on disk. If not it is offline within, as by HF_HUB_OFFLINE=1; for
    all threads, since it is the library's own setting. Without it, it looks up on the network how to introduce itself,
    before it looks on the disk."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not allowed
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
