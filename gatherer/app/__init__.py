"""The wiring: from the configuration to inbox, endpoints and target. Nothing else knows how they meet."""

from gatherer.app.edge import exposed_files
from gatherer.app.erasing import open_people, person_of
from gatherer.app.exporting import ExportOptions, export_once
from gatherer.app.keeping import (
    backup,
    check,
    consumers,
    export_bodies,
    forget_consumer,
    import_bodies,
    import_lines,
    purge,
    select,
    show,
    to_line,
)
from gatherer.app.opening import (
    ENDPOINTS,
    GATHERING,
    READING,
    TARGET,
    load,
    open_inbox,
    open_target,
    opt_out_words,
)
from gatherer.app.passes import gather_once, replay_once
from gatherer.app.quarantining import dispose, quarantined, quarantined_body
from gatherer.app.schemas import apply_schema, check_schema, inspect_target, schema_script
from gatherer.app.serving import serve
from gatherer.app.states import status
from gatherer.app.writing import inbox_room

__all__ = [
    "ENDPOINTS",
    "GATHERING",
    "READING",
    "TARGET",
    "ExportOptions",
    "apply_schema",
    "backup",
    "check",
    "check_schema",
    "consumers",
    "dispose",
    "export_bodies",
    "export_once",
    "exposed_files",
    "forget_consumer",
    "gather_once",
    "import_bodies",
    "import_lines",
    "inbox_room",
    "inspect_target",
    "load",
    "open_inbox",
    "open_people",
    "open_target",
    "opt_out_words",
    "person_of",
    "purge",
    "quarantined",
    "quarantined_body",
    "replay_once",
    "schema_script",
    "select",
    "serve",
    "show",
    "status",
    "to_line",
]
