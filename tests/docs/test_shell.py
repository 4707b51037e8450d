"""Every shell block of every page runs, and prints what the page says."""

import shutil
from pathlib import Path

import pytest

from tests import distribution
from tests.docs import shell
from tests.docs.pages import NOT_RUN, Block, Page, matches, pages, parse

REPOSITORY = "https://github.com/whatsapp-gatherer/whatsapp-gatherer"
TOOLS = ("build", "pip", "pipx", "setuptools", "twine")  # what pages install beside gatherer
NIGHTLY = [pytest.mark.nightly, pytest.mark.timeout(900)]  # pages that install packages
UNAVAILABLE = shell.unavailable()
needs_machine = pytest.mark.skipif(UNAVAILABLE is not None, reason=UNAVAILABLE or "")


def executed_pages() -> list[object]:
    """Return the pages with shell blocks, each with its marks for pytest."""
    return [
        pytest.param(page, id=page.name, marks=NIGHTLY if page.nightly else [])
        for page in pages()
        if any(map(shell.is_executed, page.blocks))
    ]


def excluded_blocks() -> list[object]:
    """Return the shell blocks that are not run."""
    return [
        pytest.param(block, id=f"{page.name}:{block.line}")
        for page in pages()
        for block in page.blocks
        if block.language == "sh" and NOT_RUN in block.marks
    ]


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the variables with which pip and git find the packages and the repository that pages name."""
    build = distribution.build(tmp_path_factory.mktemp("source"))
    wheelhouse = tmp_path_factory.mktemp("wheelhouse")
    distribution.fill_wheelhouse(wheelhouse, f"{build.wheel}[sqlserver]", *TOOLS)
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheelhouse),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{build.source}.insteadOf",
        "GIT_CONFIG_VALUE_0": REPOSITORY,
    }


@needs_machine
@pytest.mark.parametrize("page", executed_pages())
def test_each_block_of_the_page_works(
    page: Page, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    missing = [program for program in page.needs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    variables = request.getfixturevalue("package_index") if page.nightly else {}
    results = shell.run(page, tmp_path_factory.mktemp("page"), variables)
    blocks = {block.line: block for block in page.blocks}
    for line, result in results.items():
        block = blocks[line]
        assert result.finished, f"{page.name}, line {line}:\n{block.text}\n{result.output}"
        if block.output is not None:
            assert matches(block.output, result.output), f"{page.name}, line {line} prints:\n{result.output}"


@pytest.mark.parametrize("block", excluded_blocks())
def test_blocks_that_are_not_run_have_a_reason(block: Block) -> None:
    assert block.marks[NOT_RUN]
    pytest.skip(block.marks[NOT_RUN])


def run(text: str, tmp_path_factory: pytest.TempPathFactory) -> list[shell.Result]:
    return list(shell.run(parse("page", text), tmp_path_factory.mktemp("page"), {}).values())


@needs_machine
def test_blocks_share_a_shell_and_a_machine_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    name = tmp_path_factory.getbasetemp().name
    text = f"""
.. code-block:: sh

   mkdir /opt/{name} && cd /opt/{name} && word=kept

.. file: /etc/{name}/file
.. code-block:: ini

   content

.. runs until the end, ready at: listening
.. code-block:: sh

   echo listening; sleep 1000

.. exits with: 3
.. code-block:: sh

   pwd; cat /etc/{name}/file; (exit 3)

.. code-block:: sh

   echo $word; gatherer --version
"""
    results = run(text, tmp_path_factory)
    assert [result.finished for result in results] == [True] * 5
    assert results[3].output == f"/opt/{name}\ncontent\n"
    assert matches("kept\ngatherer, version …", results[4].output)
    assert not Path("/opt", name).exists()


@needs_machine
def test_the_units_of_the_samples_start_under_an_account_of_their_own(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    text = """
.. code-block:: sh

   useradd --system --home-dir /var/lib/gatherer --shell /usr/sbin/nologin gatherer
   mkdir -p /opt/gatherer/bin && ln -s "$(command -v gatherer)" /opt/gatherer/bin/
   gatherer init --directory /etc/gatherer --data /var/lib/gatherer
   chown -R root:gatherer /etc/gatherer && chmod 750 /etc/gatherer && chmod 640 /etc/gatherer/gatherer.toml
   for unit in gatherer-serve.service gatherer-gather.service gatherer-gather.timer; do
     gatherer config sample $unit > /etc/systemd/system/$unit
   done
   systemctl daemon-reload
   systemctl enable --now gatherer-serve.service gatherer-gather.timer
   runuser -u gatherer -- /opt/gatherer/bin/gatherer --config /etc/gatherer/gatherer.toml \\
     simulate --endpoint whatsapp --count 5
   systemctl start gatherer-gather.service
   systemctl restart gatherer-serve
   systemctl stop gatherer-serve

.. code-block:: sh

   journalctl -u gatherer-serve
   stat --format=%U /var/lib/gatherer/responses.db
"""
    first, second = run(text, tmp_path_factory)
    assert first.finished, first.output
    assert "listening at" in second.output, second.output
    assert second.output.endswith("\ngatherer\n"), "the service has written it under another account"


@needs_machine
@pytest.mark.parametrize(
    "block",
    [
        ".. code-block:: sh\n\n   false; true\n",
        ".. exits with: 2\n.. code-block:: sh\n\n   (exit 3)\n",
        ".. runs until the end, ready at: listening\n.. code-block:: sh\n\n   echo failed\n",
    ],
)
def test_a_block_that_fails_is_noticed_and_so_are_those_below_it(
    block: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    results = run(f"{block}\n.. code-block:: sh\n\n   true\n", tmp_path_factory)
    assert [result.finished for result in results] == [False, False]
