"""The pages of docs/ as tests: shell blocks run in order, SQL examples are executed, outputs are compared.

All literal text of a page is in `code-block` directives. The language decides about the test:

`sh`
    Runs with bash, in a shell of the page: folders, variables and files of earlier blocks are there. The page is
    the work of root on a machine of its own: system folders can be changed, and the network has this machine alone.
    Commands in `stand_ins` come first on the PATH: those that need systemd, which start the real units without their
    sandbox, and those that set up what a page takes for granted.
`sql`
    Runs in an SQLite target that a campaign has filled.
`tsql`
    Must be T-SQL that parses; with GATHERER_TEST_SQLSERVER it also runs, in an empty target, unless it is `not run`.
`text` and all other languages
    Are not executed.

Comments directly above a block change what happens with it, one on each line:

`.. not run: REASON`
    The test of the block is skipped with this reason.
`.. exits with: CODE`
    The last command of the block ends with this exit code instead of 0.
`.. runs until the end, ready at: TEXT`
    The block is started in the background. The page goes on when its output contains TEXT.
`.. file: PATH`
    A block of any language is written to this file, as the reader would do with an editor.
`.. first: COMMAND`
    The command runs before the block, and the reader does not see it: it does what the text describes.
`.. output`
    A `text` block is the output of the block above. `…` stands for any text within a line, a line of `…` for
    any lines.

A page whose first lines have `.. nightly: REASON` is tested with `-m nightly` only. One with `.. needs: PROGRAM, …` is
tested where these programs are installed.
"""
