"""`[privacy]`: how people who were erased are known again."""

from typing import Annotated

from pydantic import AfterValidator

from gatherer.config.base import ResolvedPath, Section
from gatherer.config.secret import PrivacySecret

FEWEST_CHARACTERS = 16  # whoever has the tombstones and guesses the key finds out all numbers


def _long_enough(key: PrivacySecret) -> PrivacySecret:
    if key.is_known and len(key.reveal()) < FEWEST_CHARACTERS:
        raise ValueError(f"is too short to be a key: expected {FEWEST_CHARACTERS} random characters or more")
    return key


class Privacy(Section):
    """The key of the tombstones, and the file that has them beside the target."""

    key: Annotated[PrivacySecret, AfterValidator(_long_enough)] | None = None
    tombstones: ResolvedPath | None = None
