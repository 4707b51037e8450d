"""Error messages for a configuration file. They say what to write instead, and never repeat a value."""

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel, Tag

BACKSLASHES: Final = (
    "a backslash inside double quotes is an escape: write Windows paths in single quotes, "
    r"as in 'C:\gatherer\inbox.db'"
)
_Location = Sequence[str | int]


def without_control_characters(path: str) -> str:
    r"""Return `path`.

    Raises:
        ValueError: it has control characters, as TOML reads "C:\temp", in double quotes, with a tab.

    """
    if any(character < " " or character == "\x7f" for character in path):
        raise ValueError(BACKSLASHES)
    return path


def with_home(path: Path) -> Path:
    """Return `path` with `~` or `~account` at its beginning replaced by the home folder.

    Raises:
        ValueError: the home folder is not known.

    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"the home of {path.parts[0]} is not known; write the whole path") from None


def of_syntax(error: tomllib.TOMLDecodeError, source: str) -> str:
    """Return one line for the syntax `error` in `source`, the text of the file."""
    number = str(error).partition("(at line ")[2].partition(",")[0]
    lines = source.split("\n")
    line = lines[int(number) - 1] if number.isdigit() and int(number) <= len(lines) else ""
    return f"{error}: {BACKSLASHES}" if "\\" in line and '"' in line else str(error)


def of_value(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Return one line for `error`, a validation error of `model`: the path of the key, and the message."""
    location = _without_tags(error["loc"], model)
    raised = error["ctx"].get("error") if "ctx" in error else None  # by a validator of a section
    match error["type"]:
        case "extra_forbidden" if location in (("inbox", "url"), ("inbox", "token")):
            message = (
                "an inbox of another machine: write [[inbox]], with two brackets, and name, url and token"
            )
        case "extra_forbidden":
            message = no_such_key(str(location[-1]), _known_keys(error["loc"], model))
        case "union_tag_not_found" | "union_tag_invalid":
            location = (*location, "kind")
            message = "expected one of: " + ", ".join(_tags(error["loc"], model))
        case "enum":
            message = "expected one of: " + error["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        case "missing":
            message = "is missing"
        case "string_pattern_mismatch":
            message = f"must match {error['ctx']['pattern']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            message = f"must be a table, as in [{_heading(location)}] or {{ … }}"
        case "list_type" if location == ("endpoint",) or location[-1] == "case":
            message = f"write [[{_heading(location)}]], with two brackets, before each {location[-1]}"
        case "list_type":
            message = "must be a list, as in [ … ]"
        case _:
            message = str(raised) if isinstance(raised, ValueError) else error["msg"]
    return f"{key_path(location)}: {message}" if location else message


def key_path(location: _Location) -> str:
    """Return the path of a key in the form endpoint[0].app_secrets[1]."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def _heading(location: _Location) -> str:
    """Return the path of a key as the heading of its table, in which positions in lists do not stand."""
    return ".".join(part for part in location if isinstance(part, str))


def no_such_key(name: str, known: Iterable[str]) -> str:
    """Return the message about a key that does not exist; it suggests the most similar of the `known` keys."""
    similar = difflib.get_close_matches(name, known, n=1)
    return "there is no such key" + (f"; did you mean {similar[0]}?" if similar else "")


def _known_keys(location: _Location, model: type[BaseModel]) -> list[str]:
    """Return the keys of the section that contains the key at `location`."""
    section = [model, *(inside for _, inside in _walk(location[:-1], model))][-1]
    return [field.alias or name for name, field in section.model_fields.items()]


def _without_tags(location: _Location, model: type[BaseModel]) -> _Location:
    """Return `location` without the tags of unions that pydantic adds: they are not keys of the file."""
    return tuple(part for part, _ in _walk(location, model) if part is not None)


def _walk(location: _Location, model: type[BaseModel]) -> Iterator[tuple[str | int | None, type[BaseModel]]]:
    """Yield the parts of `location`, each with the section that contains the next part; None for a part that is a tag."""
    kinds: Mapping[str, type[BaseModel]] = {}
    for part in location:
        if part in kinds:
            model, kinds = _inside(kinds[str(part)], model)
            yield None, model
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if isinstance(part, str) and part in fields:
            model, kinds = _inside(fields[part].annotation, model)
        yield part, model


def _inside(annotation: Any, model: type[BaseModel]) -> tuple[type[BaseModel], Mapping[str, Any]]:
    """Return the section that `annotation` names, else `model`, and the sections by their tag if it is a union."""
    candidates = (annotation, *get_args(annotation))  # a table, a list of tables, or an optional table
    sections = (kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel))
    return next(sections, model), _kinds(annotation)


def _kinds(annotation: object) -> dict[str, Any]:
    """Return the sections of a union with tags, or of a list of such unions, by their tag."""
    members = get_args(annotation)
    if get_origin(annotation) is list and members and get_origin(members[0]) is Annotated:
        members = get_args(get_args(members[0])[0])
    return {
        member.__metadata__[0].tag: get_args(member)[0]
        for member in members
        if get_origin(member) is Annotated and isinstance(member.__metadata__[0], Tag)
    }


def _tags(location: _Location, model: type[BaseModel]) -> list[str]:
    """Return the tags of the union at `location`, quoted."""
    field = next(field for name, field in model.model_fields.items() if (field.alias or name) == location[-1])
    return [f'"{tag}"' for tag in _kinds(field.annotation)]
