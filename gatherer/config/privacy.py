"""`[privacy]`: how erased people are recognised."""

from typing import Annotated

from pydantic import AfterValidator

from gatherer.config.base import ResolvedPath, Section
from gatherer.config.secret import PrivacySecret

MIN_CHARACTERS = 16  # a key that can be guessed reveals the numbers of all tombstones


def _long_enough(key: PrivacySecret) -> PrivacySecret:
    if key.is_known and len(key.reveal()) < MIN_CHARACTERS:
        raise ValueError(f"is too short for a key: expected {MIN_CHARACTERS} random characters or more")
    return key


class Privacy(Section):
    """The key of the tombstones, and the file that stores them in addition to the target."""

    key: Annotated[PrivacySecret, AfterValidator(_long_enough)] | None = None
    """At least 16 random characters, by which erased people are recognised. The same on each machine that
    gathers into this target; never change it."""
    tombstones: ResolvedPath | None = None
    """The file of the tombstones. Left out: beside the target, or in its `state` folder."""
