"""The wiring: from the configuration to inbox, endpoints and target. Nothing else knows how they meet."""

from gatherer.app.exporting import ExportOptions, export_once
from gatherer.app.opening import ENDPOINTS, TARGET, load, open_inbox, open_target
from gatherer.app.passes import gather_once, opt_out_words, replay_once
from gatherer.app.quarantining import dispose, quarantined, quarantined_body
from gatherer.app.schemas import apply_schema, check_schema, inspect_target, schema_script
from gatherer.app.serving import serve
from gatherer.app.storing import inbox_room

__all__ = [
    "ENDPOINTS",
    "TARGET",
    "ExportOptions",
    "apply_schema",
    "check_schema",
    "dispose",
    "export_once",
    "gather_once",
    "inbox_room",
    "inspect_target",
    "load",
    "open_inbox",
    "open_target",
    "opt_out_words",
    "quarantined",
    "quarantined_body",
    "replay_once",
    "schema_script",
    "serve",
]
