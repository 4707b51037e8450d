"""How pages mark their blocks, and that no literal text of a page escapes the tests."""

import pytest

from tests.docs.pages import MarkupError, matches, pages, parse

# sh, sql and tsql are executed; the others are shown.
LANGUAGES = {
    "sh",
    "sql",
    "tsql",
    "text",
    "toml",
    "ini",
    "nginx",
    "json",
    "python",
    "xml",
    "powershell",
    "bat",
}

PAGE = """\
Title
=====

.. exits with: 2
.. first: touch file
.. code-block:: sh

   echo one \\
     two

Text.

.. output
.. code-block:: text

   one …

* item

  .. not run: no server here

  .. code-block:: sh

     systemctl start it
"""


def test_a_block_has_its_text_its_marks_and_its_output() -> None:
    first, second = parse("page", PAGE).blocks
    assert first.text == "echo one \\\n  two\n"
    assert first.marks == {"exits with": "2", "first": "touch file"}
    assert first.output == "one …\n"
    assert (second.text, second.marks) == ("systemctl start it\n", {"not run": "no server here"})


def test_a_page_names_the_programs_that_its_test_needs() -> None:
    assert parse("page", "Title\n=====\n\n.. needs: curl, nginx\n").needs == ("curl", "nginx")
    assert parse("page", PAGE).needs == ()


@pytest.mark.parametrize(
    "text",
    [
        ".. not run: no reason\n\nSome text.\n",
        ".. output\n.. code-block:: text\n\n   of no block\n",
        "Type this::\n\n   rm -rf folder\n",
        "::\n\n   rm -rf folder\n",
    ],
)
def test_marks_without_a_block_and_literal_text_without_a_language_are_errors(text: str) -> None:
    with pytest.raises(MarkupError):
        parse("page", text)


@pytest.mark.parametrize(
    ("wanted", "printed", "equal"),
    [
        ("a\nb", "a\nb\n", True),
        ("a … c", "a b c", True),
        ("a … c", "a b\nc", False),
        ("a\n…\nd", "a\nb\nc\nd", True),
        ("a\n…\nd", "a\nd", True),
        ("a\n…\nd", "b\nd", False),
        ("a.c", "abc", False),
        ("a", "a\nb", False),
    ],
)
def test_the_output_of_a_block_is_compared_line_by_line(wanted: str, printed: str, equal: bool) -> None:
    assert matches(wanted, printed) is equal


def test_blocks_of_all_pages_are_in_known_languages() -> None:
    """`bash` or `console` would be shell blocks that no test runs."""
    assert {block.language for page in pages() for block in page.blocks} <= LANGUAGES
