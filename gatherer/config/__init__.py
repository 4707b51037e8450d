"""The configuration: one TOML file, validated as a whole. Each section has its own module."""

from gatherer.config.after_run import AfterRun
from gatherer.config.endpoint import ApiKey, Basic, Endpoint
from gatherer.config.file import (
    DEFAULT_NAME,
    ENVIRONMENT_VARIABLE,
    Configuration,
    InvalidConfigurationError,
    find,
    load,
)
from gatherer.config.inboxes import ALONE, NamedInbox, OfferedInbox
from gatherer.config.mapping import Case, JSONMapping
from gatherer.config.monitoring import Admin, Quarantine
from gatherer.config.privacy import Privacy
from gatherer.config.pull import Pull
from gatherer.config.relays import SNS, EventGrid
from gatherer.config.server import Inbox, Server
from gatherer.config.target import SQLiteTarget, SQLServerTarget, Target

__all__ = [
    "ALONE",
    "DEFAULT_NAME",
    "ENVIRONMENT_VARIABLE",
    "SNS",
    "Admin",
    "AfterRun",
    "ApiKey",
    "Basic",
    "Case",
    "Configuration",
    "Endpoint",
    "EventGrid",
    "Inbox",
    "InvalidConfigurationError",
    "JSONMapping",
    "NamedInbox",
    "OfferedInbox",
    "Privacy",
    "Pull",
    "Quarantine",
    "SQLServerTarget",
    "SQLiteTarget",
    "Server",
    "Target",
    "find",
    "load",
]
