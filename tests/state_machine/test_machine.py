"""The whole product, driven in random ways through its command line and HTTP, against an oracle.

Each test is one random sequence of steps, made from the seed in its name. `CONTRIBUTING.rst` says how to run one again.
"""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.state_machine import oracle
from tests.state_machine.payloads import Payload, payloads
from tests.state_machine.product import INBOXES, KILLED, LIBFAKETIME, Product
from tests.targets.engines import ENGINES

inboxes = st.sampled_from(INBOXES)
copies = st.integers(0, 3)  # which of the copies to restore, the newest being 0
NIGHTLY_PARTS: Final = 10  # of 200 steps each
OPERATIONS: Final = st.integers(1, 30)  # at which a command is killed; a run has about 20


class Machine(RuleBasedStateMachine):
    """The product and the oracle side by side."""

    engine: ClassVar = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="gatherer-machine-", ignore_cleanup_errors=True)
        self.product = Product(Path(self.folder.name), self.engine)
        self.inboxes: dict[str, oracle.Inbox] = {}
        self.targets: dict[str, oracle.Target] = {"main": oracle.Target()}
        self.inbox_copies: dict[str, list[tuple[Path, oracle.Inbox]]] = {name: [] for name in INBOXES}
        self.target_copies: list[tuple[Path, oracle.Target]] = []
        self.posted: list[Payload] = []

    @initialize()
    def start(self) -> None:
        for name in INBOXES:
            self._new_inbox(name)

    def _new_inbox(self, name: str) -> None:
        self.product.serve(name)
        self.inboxes[name] = oracle.Inbox(self.product.identity(name))

    def teardown(self) -> None:
        self.product.close()
        self.folder.cleanup()

    # Requests

    @rule(name=inboxes, sent=st.lists(payloads(), min_size=1, max_size=4))
    def post(self, name: str, sent: list[Payload]) -> None:
        for payload in sent:
            response = self.product.post(name, payload)
            assert response is not None
            assert response.status == 200
            self.posted.append(payload)
            self._store(name, payload)

    @precondition(lambda self: self.posted)
    @rule(name=inboxes, data=st.data())
    def redeliver(self, name: str, data: st.DataObject) -> None:
        self.post(name, [data.draw(st.sampled_from(self.posted), "payload")])

    @rule(name=inboxes, payload=payloads())
    def kill_server_during_request(self, name: str, payload: Payload) -> None:
        response = self.product.post(name, payload, kill=True)
        self.product.serve(name)
        is_stored = len(self.product.notifications(name)) > len(self.inboxes[name].notifications)
        assert is_stored or response is None, "answered 200 and not stored"
        if is_stored:
            self.posted.append(payload)
            self._store(name, payload)

    @rule(name=inboxes)
    def stop_server(self, name: str) -> None:
        self.product.stop(name)

    def _store(self, name: str, payload: Payload) -> None:
        """Let the oracle append `payload`. Only the time of receipt is taken from the product."""
        self.inboxes[name].append(self.product.notifications(name)[-1][1], payload)

    # Runs

    @rule(name=st.sampled_from(["main", "main", "clone"]), limit=st.none() | st.integers(1, 5))
    def gather(self, name: str, limit: int | None) -> None:
        if name not in self.targets:
            return
        options = () if limit is None else ("--limit", str(limit))
        code, summary = self.product.gather(name, *options)
        expected = self.targets[name].gather(self.inboxes.values(), limit)
        reported = {
            "read": summary["read"],
            "missing": summary["missing"],
            "purged_unread": summary["purged_unread"],
            "exit codes": [inbox["exit_code"] for inbox in summary["inboxes"]],
        }
        assert reported == {
            "read": expected.read,
            "missing": 0,
            "purged_unread": expected.purged_unread,
            "exit codes": expected.exit_codes,
        }
        assert code == max(expected.exit_codes)

    @rule(number=OPERATIONS)
    def kill_run(self, number: int) -> None:
        code, _ = self.product.gather("main", kill_at=number)
        target = self.targets["main"]
        if code != KILLED:
            target.gather(self.inboxes.values())
            return
        # Of each inbox the run has stored all or nothing, as the position tells.
        stored = self._positions("main")
        for inbox in self.inboxes.values():
            complete = target.copied()
            complete.gather([inbox])
            before, after = target.positions.get(inbox.identity), complete.positions.get(inbox.identity)
            assert stored.get(inbox.identity) in (before and before.id, after and after.id)
            if stored.get(inbox.identity) == (after and after.id):
                target.gather([inbox])

    @precondition(lambda self: self._is_gathered())
    @rule(name=inboxes, rebuild=st.booleans(), number=st.none() | OPERATIONS)
    def replay(self, name: str, *, rebuild: bool, number: int | None) -> None:
        target, inbox = self.targets["main"], self.inboxes[name]
        if rebuild and any(
            inbox.refuses(target.positions.get(inbox.identity)) for inbox in self.inboxes.values()
        ):
            return  # ids of this inbox mean other notifications than those that the target knows
        options = ("--rebuild",) if rebuild else ()
        command = ("--config", "main.toml", "replay", "--all", "--inbox", name, *options)
        result = self.product.run(*command, kill_at=number)
        if result.returncode == KILLED and self._differences("main", target) == []:
            return
        assert result.returncode in (0, KILLED), result.stderr
        target.take(inbox.notifications.values())

    # Exports

    @precondition(lambda self: self._is_gathered())
    @rule(cursor=st.sampled_from(["warehouse", "desk"]))
    def export(self, cursor: str) -> None:
        result = self.product.run(
            "--config", "main.toml", "export", "--format", "ndjson", "--since-last", cursor
        )
        assert result.returncode == 0, result.stderr
        required, allowed = self.targets["main"].begin_export(cursor)
        written = [json.loads(line) for line in result.stdout.splitlines()]
        identities = [(row["kind"], row["message_id"]) for row in written]
        assert len(identities) == len(set(identities))
        assert required <= set(identities) <= allowed
        rows = self.targets["main"].rows()
        for row in written:
            expected = rows[row["kind"], row["message_id"]]
            assert {name: row[name] for name in oracle.STATED} == {
                name: expected[name] for name in oracle.STATED
            }

    # The clock

    @precondition(lambda self: LIBFAKETIME is not None)
    @rule(days=st.sampled_from([-400, -3, 0, 0, 3, 20]))
    def move_clock(self, days: int) -> None:
        self.product.set_clock(days)

    # Copies of files

    @rule(name=inboxes)
    def back_up_inbox(self, name: str) -> None:
        path = self.product.folder / f"{name}-{len(self.inbox_copies[name])}.backup"
        result = self.product.run("--config", f"serve-{name}.toml", "inbox", "backup", str(path))
        assert result.returncode == 0, result.stderr
        copy = oracle.Inbox(**vars(self.inboxes[name]))
        copy.notifications = dict(copy.notifications)
        self.inbox_copies[name].append((path, copy))

    @precondition(lambda self: any(self.inbox_copies.values()))
    @rule(name=inboxes, number=copies, kill=st.booleans())
    def restore_inbox(self, name: str, number: int, *, kill: bool) -> None:
        if not self.inbox_copies[name]:
            return
        path, copy = self.inbox_copies[name][-1 - number % len(self.inbox_copies[name])]
        self.product.stop(name, kill=kill)
        result = self.product.run("--config", f"serve-{name}.toml", "inbox", "restore", str(path))
        assert result.returncode == 0, result.stderr
        identity = self.product.identity(name)
        assert identity not in {inbox.identity for inbox in self.inboxes.values()}
        self.inboxes[name] = copy.restored(identity)

    @precondition(lambda self: any(self.inbox_copies.values()))
    @rule(name=inboxes, number=copies, kill=st.booleans())
    def put_copy_of_inbox(self, name: str, number: int, *, kill: bool) -> None:
        """Restore an inbox by hand, as an operator does who has not read that this is refused."""
        if not self.inbox_copies[name]:
            return
        path, copy = self.inbox_copies[name][-1 - number % len(self.inbox_copies[name])]
        self.product.stop(name, kill=kill)
        self.product.put(path, name)
        self.inboxes[name] = oracle.Inbox(**vars(copy))
        self.inboxes[name].notifications = dict(copy.notifications)

    @rule(name=inboxes, kill=st.booleans())
    def swap_inbox(self, name: str, *, kill: bool) -> None:
        self.product.stop(name, kill=kill)
        self.product.move_away(name)
        self._new_inbox(name)

    @precondition(lambda self: self.engine == "sqlite" and self._is_gathered())
    @rule()
    def back_up_target(self) -> None:
        path = self.product.folder / f"target-{len(self.target_copies)}.backup"
        self.product.copy("main", path)
        self.target_copies.append((path, self.targets["main"].copied()))

    @precondition(lambda self: self.target_copies)
    @rule(number=copies)
    def restore_target(self, number: int) -> None:
        path, copy = self.target_copies[-1 - number % len(self.target_copies)]
        self.product.put(path, "main")
        self.targets["main"] = copy.copied()

    @precondition(lambda self: self.engine == "sqlite" and self._is_gathered())
    @rule()
    def clone_target(self) -> None:
        path = self.product.folder / "clone.copy"
        path.unlink(missing_ok=True)
        self.product.copy("main", path)
        self.product.put(path, "clone")
        self.targets["clone"] = self.targets["main"].copied()

    # What must exist after every step

    def _is_gathered(self) -> bool:
        """Return whether there is a target."""
        return self.engine != "sqlite" or self.product.exists("main")

    @invariant()
    def inboxes_hold_what_was_acknowledged(self) -> None:
        for name, inbox in self.inboxes.items():
            stored = self.product.notifications(name)
            expected = [
                (each.id, each.received_at, each.payload.endpoint, each.payload.body)
                for each in inbox.notifications.values()
            ]
            assert stored == expected

    @invariant()
    def targets_hold_what_was_gathered(self) -> None:
        for name, target in self.targets.items():
            if name == "main" and not self._is_gathered():
                continue
            assert self._differences(name, target) == []

    def _differences(self, name: str, target: oracle.Target) -> list[str]:
        """Return where the target `name` differs from what the oracle says, for people."""
        stored = self._stored(name)
        reactions = target.reactions()
        expected = {
            "response": target.rows(),
            "rejected": target.rejections(),
            "other_event": {event: {} for event in target.other_events()},
            "opt_out_current": dict.fromkeys(target.opted_out(), 1),
            "inbox_position": {identity: each.id for identity, each in target.positions.items()},
            # Of several emojis that may stand, the one that stands
            "reaction_current": {
                place: emoji if (emoji := stored["reaction_current"].get(place)) in emojis else sorted(emojis)
                for place, emojis in reactions.items()
            },
        }
        return [
            f"{table} {key}: stored {stored[table].get(key)}, expected {rows.get(key)}"
            for table, rows in expected.items()
            for key in stored[table].keys() | rows.keys()
            if key not in rows or key not in stored[table] or stored[table][key] != rows[key]
        ]

    def _positions(self, target: str) -> dict[str, int]:
        if not self._is_gathered():
            return {}
        rows = self.product.query(target, "SELECT inbox_id, notification_id FROM $(schema).inbox_position")
        return {row["inbox_id"]: row["notification_id"] for row in rows}

    def _stored(self, target: str) -> dict[str, dict[Any, Any]]:
        """Return what the target holds, in the form of the oracle."""

        def rows(query: str) -> list[dict[str, Any]]:
            return self.product.query(target, query)

        return {
            "response": {
                (row["kind"], row["message_id"]): {
                    name: milliseconds(row[name]) if name.endswith("_at") else row[name]
                    for name in ("occurred_at_source", "occurred_at", *oracle.FIRST_RECEIPT, *oracle.STATED)
                }
                for row in rows("SELECT * FROM $(schema).response")
            },
            "rejected": {
                (row["provider"], row["path"], row["reason_class"], row["body"]): {
                    name: milliseconds(row[name]) if name.endswith("_at") else row[name]
                    for name in oracle.FIRST_RECEIPT
                }
                for row in rows(
                    "SELECT r.*, n.body FROM $(schema).rejected AS r "
                    "JOIN $(schema).rejected_notification AS n ON n.body_key = r.body_key "
                    "WHERE r.resolved_at IS NULL"
                )
            },
            "other_event": {
                (row["family"], row["message_id"]): {} for row in rows("SELECT * FROM $(schema).other_event")
            },
            "reaction_current": {
                (row["about_message_id"], row["phone"]): row["emoji"]
                for row in rows("SELECT * FROM $(schema).reaction_current")
            },
            "opt_out_current": {
                row["phone"]: row["opted_out"]
                for row in rows("SELECT * FROM $(schema).opt_out_current WHERE opted_out = 1")
            },
            "inbox_position": self._positions(target),
        }


def milliseconds(text: str) -> int:
    """Return milliseconds since 1970 of a time as the target has it."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def drive(engine: str, number: int, steps: int, *, shrink: bool) -> None:
    """Take `steps` random steps with the target `engine`, made from the seed `number`, and check after each.

    Args:
        engine: kind of the target.
        number: the same seed makes the same steps, also if there are more of them.
        steps: how many.
        shrink: after a failure, look for fewer and simpler steps that fail. This takes minutes.

    """
    machine = type("Machine", (Machine,), {"engine": engine})
    try:
        run_state_machine_as_test(
            seed(number)(machine),
            settings=settings(
                max_examples=1,
                stateful_step_count=steps,
                phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Exception as failure:
        failure.add_note(f"To run it again: scripts/test -m nightly tests/state_machine --seed {number}")
        raise


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test its seeds: that of the option, or else fixed ones, or in nightly tests those of the day."""
    if "number" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--seed")
        is_nightly = metafunc.definition.get_closest_marker("nightly") is not None
        first = datetime.now(UTC).toordinal() * NIGHTLY_PARTS if is_nightly else 1
        count = NIGHTLY_PARTS if is_nightly else 1
        metafunc.parametrize("number", range(first, first + count) if chosen is None else [chosen])


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_rejections_and_exports_are_those_of_the_oracle(engine: str, number: int) -> None:
    drive(engine, number, 60, shrink=False)


@pytest.mark.nightly
@pytest.mark.parametrize("engine", ENGINES)
def test_rows_rejections_and_exports_are_those_of_the_oracle_at_night(
    engine: str, number: int, request: pytest.FixtureRequest
) -> None:
    drive(engine, number, 200, shrink=request.config.getoption("--seed") is not None)


@pytest.mark.skipif(LIBFAKETIME is not None, reason="libfaketime is there")
def test_clock_is_moved() -> None:
    pytest.skip("libfaketime is missing: no clock was moved (Debian and Ubuntu: apt install libfaketime)")
