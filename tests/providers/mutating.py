"""Breaks payloads the way the world does: drops, retypes, nests and doubles parts, or cuts the end off."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 1e300, 2**70, 9 * 10**4200, "", "x", "0", "\x00", "\ud800", "NaN", "1e400",
    [], {}, [[]], [None], {"a": 1}, {"id": "x"}, [{}, "y"],
)  # fmt: skip

_junk = st.sampled_from(JUNK) | st.text(max_size=5) | st.floats(allow_nan=False)

FORM_JUNK = (
    b"", b"0", b"+", b"%", b"%zz", b"%FF", b"%00", b"%ED%A0%80", b"\xff", b"whatsapp%3A", b"{}", b"[1", b"=", b"&", b"9" * 5000,
)  # fmt: skip

Place = tuple[Any, Any]  # a container, and the name or index of a part of it


def places(value: Any) -> Iterator[Place]:
    """Yield every place inside `value`."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in list(parts):
        yield value, name
        yield from places(part)


def put(root: Any, number: int, junk: Any) -> Any:
    """Return a copy of `root` with `junk` in its place number `number`."""
    changed = copy.deepcopy(root)
    container, name = list(places(changed))[number]
    container[name] = copy.deepcopy(junk)
    return changed


@st.composite
def mutated(draw: st.DrawFn, roots: list[Any]) -> bytes:
    """Draw the bytes of one of `roots` after one to four mutations; some are cut short or doubled."""
    root = copy.deepcopy(draw(st.sampled_from(roots)))
    for _ in range(draw(st.integers(1, 4))):
        everywhere = list(places(root))
        if not everywhere:
            break
        container, name = everywhere[draw(st.integers(0, len(everywhere) - 1))]
        match draw(st.sampled_from(["drop", "retype", "nest", "wrap", "double", "move"])):
            case "drop":
                del container[name]
            case "retype":
                container[name] = copy.deepcopy(draw(_junk))
            case "nest":
                container[name] = {"nested": container[name]}
            case "wrap":
                container[name] = [container[name]]
            case "double":
                container[name] = [container[name], copy.deepcopy(container[name])]
            case "move":
                donor, part = everywhere[draw(st.integers(0, len(everywhere) - 1))]
                donated = donor.get(part) if isinstance(donor, dict) else (donor[part:] or [None])[0]
                container[name] = copy.deepcopy(donated)
    body = json.dumps(root).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 19)) == 0:
        body = body[: draw(st.integers(0, len(body)))]
    return body


@st.composite
def mutated_form(draw: st.DrawFn, bodies: list[bytes]) -> bytes:
    """Draw one of the forms `bodies` after one to four mutations; some are cut short."""
    pairs = draw(st.sampled_from(bodies)).split(b"&")
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(pairs) - 1))
        name, _, value = pairs[place].partition(b"=")
        junk = draw(st.sampled_from(FORM_JUNK) | st.binary(max_size=5))
        match draw(st.sampled_from(["drop", "value", "name", "double", "move", "bare"])):
            case "drop" if len(pairs) > 1:
                del pairs[place]
            case "value":
                pairs[place] = name + b"=" + junk
            case "name":
                pairs[place] = junk + b"=" + value
            case "double":
                pairs.append(name + b"=" + junk)
            case "move":
                pairs[place] = name + b"=" + draw(st.sampled_from(pairs)).partition(b"=")[2]
            case "bare":
                pairs[place] = name
    body = b"&".join(pairs)
    return body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 19)) == 0 else body
