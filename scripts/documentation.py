"""Check the documentation against the program: valid reStructuredText, and generated pages up to date.

With --fix, write the generated pages of docs/: configuration, commands, tables and providers.
"""

import io
import json
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel, IPvAnyNetwork
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gatherer import config, providers
from gatherer.config.mapping import JsonPointer
from gatherer.config.secret import Secret
from gatherer.model.records import TABLES, Kind
from gatherer.providers.base import Provider
from gatherer.providers.pointer import Pointer

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"
WIDTH: Final = 96
SKIPPED: Final = {"build", "dist", "node_modules"}
GENERATED: Final = ".. This page is generated: scripts/check --fix writes it.\n\n"
INTRODUCTION: Final = """\
One TOML file in UTF-8: the file given by ``--config``, else by the environment variable
``GATHERER_CONFIG``, else ``gatherer.toml`` in the current folder. ``gatherer config example`` prints an
example with comments, ``gatherer config check`` finds every mistake at once.

A *path* is relative to the folder of the file. A *secret* is the text itself, or
``{ env = "NAME" }`` for an environment variable, or ``{ file = "PATH" }`` for the content of a file.
"""
# The sections of the configuration in the order of the page. `sections` fails if this is not all of them.
HEADINGS: Final[dict[str, str]] = {
    "Server": "[server]",
    "Inbox": "[inbox]",
    "NamedInbox": "[[inbox]] on this machine",
    "OfferedInbox": "[[inbox]] on another machine",
    "Pull": "[pull]",
    "SQLiteTarget": '[target] with kind = "sqlite"',
    "SQLServerTarget": '[target] with kind = "sqlserver"',
    "AfterRun": "[[after_run]]",
    "Privacy": "[privacy]",
    "Endpoint": "[[endpoint]]",
    "JSONMapping": "[endpoint.mapping]",
    "Case": "[[endpoint.mapping.case]]",
    "Quarantine": "[quarantine]",
    "Admin": "[admin]",
}
TABLES_INTRODUCTION: Final = """\
The tables in SQL Server. The SQLite target has the same tables and columns, except that a table ``message_map_change`` takes
the place of ``version`` in ``message_map``. There, times are text in UTC and keys are blobs. :doc:`../analyst` describes the views, :doc:`../dba` how the tables are written, locked and purged.

*BIN2* is the collation ``Latin1_General_BIN2``, which compares byte by byte. Other text has the collation of the
database. Times are UTC.
"""
_TABLE: Final = re.compile(
    r"(?P<comment>(?:^--[^\n]*\n)+)IF OBJECT_ID[^\n]*\nCREATE TABLE (?P<name>\w+) \((?P<body>.*?)\n\);",
    re.MULTILINE | re.DOTALL,
)
_COLUMN: Final = re.compile(
    r"^    \[?(?P<name>[a-z]\w*)\]?\s+(?P<definition>(?P<type>\w+(?:\(\w+\))?).*?),?  -- (?P<comment>.+)$",
    re.MULTILINE,
)


def documents() -> list[Path]:
    """Return every reStructuredText file of the project."""
    inside = (path.relative_to(ROOT) for path in ROOT.rglob("*.rst"))
    return sorted(
        ROOT / path for path in inside if not any(p.startswith(".") or p in SKIPPED for p in path.parts)
    )


def complaints(document: Path) -> str:
    """Return the errors and warnings of docutils about `document`, an empty text if there are none."""
    from docutils.core import publish_doctree

    messages = io.StringIO()
    settings = {
        "warning_stream": messages, "report_level": 2, "halt_level": 5, "file_insertion_enabled": False,
        "_disable_config": True,
    }  # fmt: skip
    publish_doctree(document.read_text(encoding="utf-8"), str(document.name), settings_overrides=settings)
    return messages.getvalue()


def heading(text: str, underline: str) -> str:
    """Return `text` as a heading."""
    return f"{text}\n{underline * len(text)}\n"


def inline(text: str) -> str:
    """Return a docstring as reStructuredText: code in two backticks instead of one."""
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)


def table(columns: Sequence[str], widths: Sequence[int], rows: Iterable[Sequence[str]]) -> str:
    """Return a list-table with a header row."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, widths))}", ""]
    for row in (columns, *rows):
        for bullet, cell in zip(("   * -", *("     -",) * (len(row) - 1)), row, strict=True):
            lines.append(f"{bullet} {cell}".rstrip())
    return "\n".join(lines) + "\n"


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield `command` and all its subcommands, each with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            assert subcommand is not None
            yield from commands(subcommand, f"{path} {name}")


def command_reference() -> str:
    """Return the page of the commands: the output of `--help` of each."""
    from gatherer.cli import gatherer

    parts = [heading("Commands", "="), "The output of ``--help`` of each command.\n"]
    for path, command in commands(gatherer, "gatherer"):
        context = click.Context(
            command, info_name=path, terminal_width=WIDTH, max_content_width=WIDTH,
            help_option_names=["-h", "--help"],
        )  # fmt: skip
        text = textwrap.indent(command.get_help(context), "    ", lambda line: bool(line.strip()))
        text = "\n".join(line.rstrip() for line in text.splitlines())
        parts.append(f"{heading(path, '-')}\n.. code-block:: text\n\n{text}\n")
    return "\n".join(parts)


def sections(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that a key of the configuration file may hold, in the order of its annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from sections(argument)


def sections_below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield the models that the keys of `model` may hold."""
    for field in model.model_fields.values():
        yield from sections(field.annotation)


def describe_type(annotation: Any, limits: Iterable[object] = ()) -> str:
    """Return what to write as the value of a key: its type in words, with its limits."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe_type(arguments[0], [*arguments[1:], *limits])
    if origin in (Union, types.UnionType):
        described = (describe_type(argument, limits) for argument in arguments if argument is not type(None))
        return " or ".join(dict.fromkeys(described))
    if origin is Literal:
        return ", ".join(f"``{json.dumps(argument)}``" for argument in arguments)
    if origin is list:
        if arguments[0] in (Pointer, JsonPointer):
            return "pointer or list of pointers"
        return f"list of: {describe_type(arguments[0])}"
    if origin is dict:
        return f"table: {describe_type(arguments[0])} = {describe_type(arguments[1])}"
    if issubclass(annotation, Pointer):
        return "pointer"
    if issubclass(annotation, Kind):
        return "a kind"
    if issubclass(annotation, Secret):
        return "secret"
    if issubclass(annotation, Enum):
        return ", ".join(f"``{json.dumps(member)}``" for member in annotation)
    if issubclass(annotation, BaseModel) and annotation.__name__ in HEADINGS:
        return f"table: ``{HEADINGS[annotation.__name__]}``"
    if issubclass(annotation, BaseModel):
        keys = (f"{key} = {describe_type(f.annotation)}" for key, f in annotation.model_fields.items())
        return f"table: {', '.join(keys)}"
    names = {bool: "true or false", int: "integer", float: "number", str: "text", IPvAnyNetwork: "network"}
    name = "path" if issubclass(annotation, Path) else names[annotation]
    signs = {"ge": "≥", "gt": ">", "le": "≤"}
    bounds = [
        f"{sign} {value}"
        for attribute, sign in signs.items()
        for limit in limits
        if (value := getattr(limit, attribute, None)) is not None
    ]
    return f"{name}, {', '.join(bounds)}" if bounds else name


def describe_default(field: FieldInfo) -> str:
    """Return the default of a key as TOML."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    return f"``{as_toml(value)}``"


def as_toml(value: object) -> str:
    """Return `value`, a default of the configuration, as TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, IPv4Network | IPv6Network) and value.num_addresses == 1:
        return json.dumps(str(value.network_address))
    return json.dumps(str(value), ensure_ascii=False)


def configuration_reference() -> str:
    """Return the page of the configuration, from the models and the docstrings of their fields."""
    models = [
        model for field in config.Configuration.model_fields.values() for model in sections(field.annotation)
    ] + [config.JSONMapping, config.Case]
    if {model.__name__ for model in models} != set(HEADINGS):
        raise ValueError("HEADINGS in scripts/documentation.py has other sections than the configuration")
    models.sort(key=lambda model: list(HEADINGS).index(model.__name__))
    parts = [
        heading("Configuration", "="),
        INTRODUCTION,
    ]
    for model in models:
        title = HEADINGS[model.__name__]
        rows = [
            (f"``{field.alias or key}``", describe_type(field.annotation, field.metadata), describe_default(field),
             inline(" ".join((field.description or "").split())))
            for key, field in model.model_fields.items()
            if model is not config.Case or key not in config.JSONMapping.model_fields
        ]  # fmt: skip
        if model is config.Endpoint:
            rows += provider_secrets()
        introduction = inline((model.__doc__ or "").strip().split("\n\n")[0])
        columns = ("key", "value", "default", "meaning")
        parts.append(f"{heading(title, '-')}\n{introduction}\n\n{table(columns, (20, 20, 18, 42), rows)}")
    return "\n".join(parts)


def provider_secrets() -> list[tuple[str, str, str, str]]:
    """Return the rows of the secrets with which providers sign."""
    providers_of: dict[str, list[str]] = {}
    for name in providers.names():
        for secret in providers.get(name).secrets:
            providers_of.setdefault(secret, []).append(f"``{name}``")
    meaning = "The secrets with which the provider signs, only with {}. List two while one is exchanged."
    return [
        (f"``{secret}``", "list of: secret", "``[]``", meaning.format(" or ".join(names)))
        for secret, names in providers_of.items()
    ]


def provider_matrix() -> str:
    """Return the page of the providers: what each can report, and links to their pages."""
    from gatherer.cli.providers import WILL_NOT_COME, provider_matrix

    rows = provider_matrix()
    columns = [name.replace("_", " ") for name in rows[0]]
    cells = [[f":doc:`{row['provider']}`", *list(row.values())[1:]] for row in rows]
    toctree = ".. toctree::\n   :hidden:\n\n" + "".join(f"   {row['provider']}\n" for row in rows)
    note = textwrap.fill(inline(WILL_NOT_COME), 100)
    widths = (10, 18, 24, 20, 12, 16)
    return f"{heading('Providers', '=')}\n{toctree}\n{table(columns, widths, cells)}\n{note}\n"


def provider_page(provider: Provider) -> str:
    """Return the page of one provider, from its documentation and its row of the matrix."""
    from gatherer.cli.providers import provider_row

    introduction, *chapters = inline(provider.documentation.strip()).split("\n\n")
    parts = [heading(provider.title, "="), f"{introduction}\n"]
    for name, value in provider_row(provider).items():
        parts.append(f":{name.replace('_', ' ')}: {inline(value)}")
    if provider.secrets:
        parts.append(f":secrets of an endpoint: {', '.join(f'``{name}``' for name in provider.secrets)}")
    parts.append("")
    for chapter in chapters:
        title, body = chapter.split("\n", 1)
        parts.append(f"{heading(title, '-')}\n{textwrap.dedent(body).strip()}\n")
    return "\n".join(parts)


@dataclass(frozen=True, kw_only=True)
class TableDefinition:
    """One table of SQL Server, as `sql/tables.sql` creates it."""

    name: str
    description: str
    columns: tuple[tuple[str, str, str, str], ...]  # name, type, NULL or empty, meaning
    keys: tuple[str, ...]  # the primary key, then the other indexes


def table_definitions() -> list[TableDefinition]:
    """Return the tables of SQL Server in the order of `sql/tables.sql`."""
    from gatherer.targets.sqlserver import schema

    script = schema.packaged("tables").replace("$(schema).", "")
    return [
        TableDefinition(
            name=match["name"],
            description=" ".join(line.removeprefix("-- ") for line in match["comment"].splitlines()),
            columns=tuple(map(column_row, _COLUMN.finditer(match["body"]))),
            keys=tuple(index_rows(script, match["name"], match["body"])),
        )
        for match in _TABLE.finditer(script)
    ]


def column_row(match: re.Match[str]) -> tuple[str, str, str, str]:
    """Return the cells of one column: name, type, whether it may be NULL, meaning."""
    collation = " BIN2" if "COLLATE" in match["definition"] else ""
    nullable = "" if "NOT NULL" in match["definition"] else "yes"
    return f"``{match['name']}``", f"{match['type']}{collation}", nullable, match["comment"]


def index_rows(script: str, table: str, body: str) -> Iterator[str]:
    """Yield one line for the primary key of `table`, whose definition is `body`, and for each index."""
    primary = re.search(r"PRIMARY KEY CLUSTERED \((.+)\)", body)
    assert primary is not None, table
    yield f"clustered primary key: ``({primary[1]})``"
    pattern = (
        rf"CREATE (UNIQUE )?INDEX (\w+) ON {table} \(([^)]+)\)((?: INCLUDE \([^)]+\))?)(?:\s+WHERE ([^;]+))?;"
    )
    for unique, name, columns, include, condition in re.findall(pattern, script):
        line = f"``{name}``: {'unique, ' if unique else ''}``({columns.replace('[', '').replace(']', '')}){include}``"
        filtered = " ".join(condition.split()).replace("( ", "(").replace(" )", ")")
        yield f"{line} where ``{filtered}``" if filtered else line


def table_reference() -> str:
    """Return the page of the tables, from the comments of `sql/tables.sql`."""
    tables = {definition.name: definition for definition in table_definitions()}
    facts = [tables[record.table] for record in TABLES]
    shared = [column for column in facts[0].columns if all(column in fact.columns for fact in facts)]
    names, widths = ("column", "type", "NULL", "meaning"), (22, 18, 8, 52)
    parts = [
        heading("Tables", "="),
        TABLES_INTRODUCTION,
        heading("Columns of all tables of facts", "-"),
        f"{', '.join(f'``{fact.name}``' for fact in facts)} have these columns and their own:\n",
        table(names, widths, shared),
    ]
    for definition in tables.values():
        own = [column for column in definition.columns if definition not in facts or column not in shared]
        parts += [
            heading(definition.name, "-"),
            inline(definition.description) + "\n",
            table(names, widths, own),
        ]
        parts.append("".join(f"* {key}\n" for key in definition.keys))
    return "\n".join(parts)


def generated_pages() -> dict[Path, str]:
    """Return the content of every generated page, by its path."""
    makers: dict[str, Callable[[], str]] = {
        "reference/configuration.rst": configuration_reference,
        "reference/commands.rst": command_reference,
        "reference/tables.rst": table_reference,
        "providers/index.rst": provider_matrix,
    }
    pages = {DOCS / name: GENERATED + make() for name, make in makers.items()}
    for name in providers.BUILT_IN:
        pages[DOCS / "providers" / f"{name}.rst"] = GENERATED + provider_page(providers.get(name))
    return pages


def main(*, fix: bool) -> int:
    """Print what is wrong, and return the exit code."""
    wrong = 0
    for path, content in generated_pages().items():
        if path.is_file() and path.read_text(encoding="utf-8") == content:
            continue
        if fix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="\n")
        else:
            print(f"{path.relative_to(ROOT)} is out of date; write it with: scripts/check --fix")
            wrong = 1
    for document in documents():
        # Pages of docs/ use what only Sphinx knows: scripts/docs checks them.
        if not document.is_relative_to(DOCS) and (messages := complaints(document)):
            print(messages, end="")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main(fix="--fix" in sys.argv[1:]))
