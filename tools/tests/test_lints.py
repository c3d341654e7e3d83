"""Each lint finds what it is for and leaves its neighbours alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.lints.__main__ import RULES, examine, findings, judged
from tools.lints.allowed import Allowed
from tools.lints.honesty import emails
from tools.lints.source import Finding, Source

COMMANDS = "services/patients/commands.py"
TEST = "services/patients/tests/test_commands.py"
AT = "@"
LONG = "def long():\n" + "    x = 1\n" * 50
REGISTERS = "def routes():\n" + "    def one():\n        x = 1\n" * 40

BAD = [
    ("clock", COMMANDS, "now = datetime.now(UTC)"),
    ("clock", COMMANDS, "started = time.monotonic()"),
    ("clock", "libs/common/work.py", "key = uuid4()"),
    ("clock", "services/audit/rules/tree.py", "leaf = new_id()"),
    ("environment", COMMANDS, "import os\nkey = os.environ['VANTAGE_KEY']"),
    ("environment", "libs/common/db.py", "from os import getenv"),
    ("patterns", COMMANDS, "EMAIL = re.compile(r'^[a-z]+$')"),
    ("network", COMMANDS, "from urllib import request"),
    ("network", "services/patients/api.py", "import http.client"),
    ("sleep", TEST, "await asyncio.sleep(0.2)"),
    ("sleep", "libs/testing/drain.py", "time.sleep(1)"),
    ("sql-in-door", "services/patients/api.py", "sql = 'SELECT id FROM patient'"),
    ("sql-in-door", "services/patients/adapters/vendor.py", "sql = 'INSERT INTO patient VALUES ($1)'"),
    ("sql-in-door", "services/patients/timers.py", "sql = '''\n  UPDATE run SET due = $1\n'''"),
    ("sql-from-values", COMMANDS, "sql = f'SELECT id FROM patient WHERE name = {name}'"),
    ("sql-from-values", COMMANDS, "sql = 'SELECT id FROM patient WHERE name = %s' % name"),
    ("sql-from-values", COMMANDS, "sql = 'DELETE FROM patient WHERE id = ' + patient_id"),
    ("sql-from-values", "libs/common/work.py", "sql = 'DELETE FROM {}'.format(table)"),
    ("commit", COMMANDS, "await tx.session.commit()"),
    ("commit", "services/patients/api.py", "await session.rollback()"),
    ("size", COMMANDS, "x = 1\n" * 401),
    ("size", "services/patients/app.py", "x = 1\n" * 61),
    ("size", TEST, "x = 1\n" * 601),
    ("size", COMMANDS, LONG),
    ("names", "services/patients/utils.py", "x = 1"),
    ("names", "services/patients/commands/helpers.py", "x = 1"),
    ("names", "libs/common/misc.py", "x = 1"),
    ("names", COMMANDS, "class PatientManager: ..."),
    ("header", COMMANDS, "x = 1"),
    ("swallow", COMMANDS, "try:\n    f()\nexcept Exception:\n    pass"),
    ("swallow", COMMANDS, "try:\n    f()\nexcept:\n    result = None"),
    ("swallow", COMMANDS, "try:\n    f()\nexcept (ValueError, Exception):\n    log.info('failed')"),
    ("unfinished", COMMANDS, "x = 1  # TODO: handle the rest"),
    ("unfinished", TEST, "@pytest.mark.skip\ndef test_x(): ..."),
    ("unfinished", TEST, "@pytest.mark.xfail(reason='later')\ndef test_x(): ..."),
]
GOOD = [
    ("clock", COMMANDS, "now = tx.now\nkey = tx.new_id()"),
    ("clock", "libs/common/clock.py", "now = datetime.now(UTC)"),
    ("clock", TEST, "practice = uuid4()"),
    ("environment", "libs/testing/postgres.py", "import os\nos.environ.get('X')"),
    ("network", "services/patients/adapters/vendor.py", "import urllib.request"),
    ("patterns", COMMANDS, "EMAIL = re.compile(r'[a-z]+')\nPRICE = re.compile(r'[0-9]+ \\$')"),
    ("network", COMMANDS, "from urllib.parse import urlsplit"),
    ("sleep", TEST, "await asyncio.sleep(0)"),
    ("sleep", "libs/testing/simulators/sendgrid.py", "await asyncio.sleep(hang)"),
    ("sleep", "tests/bench/load.py", "await asyncio.sleep(0.2)"),
    ("sleep", "libs/common/duties.py", "await asyncio.sleep(5)"),
    ("sql-in-door", COMMANDS, "sql = 'SELECT id FROM patient'"),
    ("sql-in-door", "services/patients/api.py", "'''Select a patient from the list.'''"),
    ("sql-in-door", "services/patients/api.py", "summary = 'Update the set of tags'"),
    ("sql-from-values", COMMANDS, "sql = f'SELECT {_COLUMNS} FROM patient WHERE id = $1'"),
    ("sql-from-values", COMMANDS, "text = f'{name} was updated'"),
    ("commit", "libs/common/work.py", "await connection.commit()"),
    ("size", COMMANDS, "x = 1\n" * 400),
    ("size", "services/patients/api.py", REGISTERS),
    ("size", "services/patients/migrations/versions/0001_first.py", LONG),
    ("names", "libs/common/service.py", "class Service: ..."),
    ("names", "services/patients/model.py", "class PatientsBase(Base):\n    __abstract__ = True"),
    ("header", COMMANDS, "'''Do.'''\nx = 1"),
    ("header", "services/patients/migrations/versions/__init__.py", ""),
    ("swallow", COMMANDS, "try:\n    f()\nexcept Exception as error:\n    log.error('effect.failed', exc_info=error)"),
    ("swallow", COMMANDS, "try:\n    f()\nexcept Exception:\n    if final:\n        raise"),
    ("swallow", COMMANDS, "try:\n    f()\nexcept KeyError:\n    pass"),
    ("unfinished", COMMANDS, "x = 'TODO'"),
]


def rules_in(path: str, code: str) -> set[str]:
    return {finding.rule for finding in examine(Source(path, code))}


class TestRules:
    @pytest.mark.parametrize(("rule", "path", "code"), BAD)
    def test_finds(self, rule: str, path: str, code: str) -> None:
        assert rule in rules_in(path, code)

    @pytest.mark.parametrize(("rule", "path", "code"), GOOD)
    def test_leaves_alone(self, rule: str, path: str, code: str) -> None:
        assert rule not in rules_in(path, code)

    def test_every_rule_has_a_bad_and_a_good_example_and_says_what_it_prevents(self) -> None:
        names = {rule.__name__.replace("_", "-") for rule in RULES}
        assert names == {rule for rule, _, _ in BAD} == {rule for rule, _, _ in GOOD}
        assert all(rule.__doc__ for rule in RULES)


class TestEmails:
    def test_finds_an_address_outside_example(self) -> None:
        assert [found.name for found in emails("docs/x.md", f"write to ada{AT}clinic.com")] == ["clinic.com"]

    def test_leaves_example_addresses_urls_and_decorators_alone(self) -> None:
        text = "ada@clinic.example\npostgresql://app:secret@db.internal/vantage\n@router.get\nuser@127.0.0.1"
        assert list(emails("x.py", text)) == []


class TestJudged:
    finding = Finding("services/x/api.py", 3, "clock", "api.py", "no")

    def test_an_exception_is_granted_by_rule_path_and_name(self) -> None:
        assert judged([self.finding], [Allowed("clock", "services/x/api.py", "api.py", "because")]) == []
        assert judged([self.finding], []) == ["services/x/api.py:3: clock: no"]

    def test_a_stale_exception_is_a_finding(self) -> None:
        assert len(judged([], [Allowed("clock", "services/x/api.py", "api.py", "because")])) == 1


def test_the_tree_is_walked_without_environments_and_caches(tmp_path: Path) -> None:
    for folder in (".venv", "services/x", ".vantage", "vantage.egg-info"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "utils.py").write_text('"""x"""\nx = 1\n')
    assert [finding.path for finding in findings(tmp_path)] == ["services/x/utils.py"]
