"""What the configuration says is not to be kept any longer goes out of the target, at the end of each pass."""

from datetime import timedelta

from gatherer import config, timestamps
from gatherer.targets.base import Retired, Target


def retire(settings: config.Target, target: Target) -> Retired:
    """Blank and delete in `target` what `[target] keep_days` says; a target that is only tried counts it.

    Raises:
        GathererError: that cannot be done, or not just now; what was gathered is there all the same.

    """
    now, days = timestamps.now(), settings.keep_days
    text_before, rows_before = (
        now - timedelta(days=limit) if limit is not None else None for limit in (days.text, days.rows)
    )
    return target.retire(text_before=text_before, rows_before=rows_before)
