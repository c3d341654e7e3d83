"""What became of the runs of a storm: their record over the API, and the other sides' own records as judge of what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from libs.testing.probe import until
from libs.testing.stack import Stack
from tests.e2e.booking import SUBJECTS, silent_runs
from tests.e2e.deeds import PROVIDERS, Party, Person
from tests.e2e.flows import items
from tests.e2e.outside import Outside


def come_to_their_ends(stack: Stack, outside: Outside, people: Sequence[tuple[Party, Person]], within: float = 120) -> set[str]:
    """Every run ends, but for those whose request nobody knows the outcome of: the outside system is asked, and its word is given.

    Returns the effect keys of those.
    """
    ids = [person.id for _, person in people]
    without = (
        "SELECT asked.id FROM unnest(%s::uuid[]) AS asked (id) WHERE NOT EXISTS (SELECT FROM workflows.run WHERE patient_id = asked.id)"
    )
    until(lambda: stack.sql(without, ids), lambda rows: rows == [], within=within, what="a run for everybody")
    running = """
        SELECT r.id::text, s.effect_key::text FROM workflows.run r
          LEFT JOIN workflows.step s ON (s.practice_id, s.run_id) = (r.practice_id, r.id) AND s.status = 'unknown' AND s.action = 'http_request'
        WHERE r.status = 'running' AND r.patient_id = ANY(%s::uuid[])
    """
    in_doubt = until(lambda: stack.sql(running, ids), lambda rows: all(key for _, key in rows), within=within, what="every run at an end")
    doubts = dict(in_doubt)
    shown = {}
    for party in parties_of(people):
        listed = items(stack, party.practice, "/v1/runs/unknown-effects", limit=100)
        for effect in [one for one in listed if one["run_id"] in doubts]:
            run_id, key = effect["run_id"], effect["effect_key"]
            shown[run_id] = key
            said = {"outcome": "succeeded" if outside.taken[key] else "failed", "note": "Their operator looked."}
            stack.client.call("POST", f"/v1/runs/{run_id}/steps/{effect['step_id']}/resolve", party.practice.admin, said)
    assert shown == doubts, (shown, doubts)
    until(lambda: stack.sql(running, ids), lambda rows: rows == [], within=60, what="every run at its end")
    return set(shown.values())


def assert_done(stack: Stack, outside: Outside, people: Sequence[tuple[Party, Person]], shown: set[str]) -> None:
    """For each person one run, at its end, and each of its deeds exactly once by the record of whoever did it; or shown as unknown.

    ``shown``: the effect keys of those that were.
    """
    stack.drained(within=120)
    _assert_runs(stack, people)
    seen, expected = _seen(stack, outside, people), Counter(_expected(people))
    not_done = {what for what in expected if what[1] == "ask" and not seen[what]}
    wrong = {what: seen[what] for what in seen | expected if seen[what] != expected[what] and what not in not_done}
    assert wrong == {}, wrong
    assert len(not_done) <= len(shown - outside.taken.keys()), "what was not done was shown"
    assert {key for key in outside.doubtful if outside.about[key] in expected} <= shown, "what was done and not answered for was shown"
    _assert_kept(stack, people)
    until(lambda: silent_runs(stack), lambda runs: runs == [], within=60, what="no run silent")


def _assert_kept(stack: Stack, people: Sequence[tuple[Party, Person]]) -> None:
    """The house has each call and each booking once, as whoever took it has."""
    ids, emails, phones = ([getattr(person, name) for _, person in people] for name in ("id", "email", "phone"))
    calls = Counter(one["call_id"] for one in stack.client.simulator("retell", "GET", "accepted") if one["to_number"] in phones)
    kept = stack.sql("SELECT external_id FROM scheduling.call WHERE patient_id = ANY(%s::uuid[])", ids)
    assert Counter(external_id for (external_id,) in kept) == calls
    bookings = stack.client.simulator("calcom", "GET", "accepted")
    booked = Counter((one["uid"], one["status"] == "cancelled") for one in bookings if one["attendee"]["email"] in emails)
    kept = stack.sql("SELECT external_id, status = 'cancelled' FROM scheduling.appointment WHERE patient_id = ANY(%s::uuid[])", ids)
    assert Counter(kept) == booked


def parties_of(people: Iterable[tuple[Party, Person]]) -> list[Party]:
    return list({id(party): party for party, _ in people}.values())


def _expected(people: Sequence[tuple[Party, Person]]) -> Iterator[tuple[str, str]]:
    for party, person in people:
        cancelled = "visit" in party.deeds
        whats = [SUBJECTS[0], "page, cancelled" if cancelled else "page, accepted"]
        for deed in party.deeds:
            whats += {"mail": [SUBJECTS[1]], "call": ["call"], "visit": ["run, accepted"], "request": ["ask", "tell"]}[deed]
        yield from ((person.email, what) for what in whats)


def _seen(stack: Stack, outside: Outside, people: Sequence[tuple[Party, Person]]) -> Counter[tuple[str, str]]:
    """What was done about these people, by the records of those who did it. Each knows it by the key of a step of theirs."""
    emails = {person.phone: person.email for _, person in people}
    asked = set(emails.values())
    seen: Counter[tuple[str, str]] = Counter()
    keys = set()
    for who, what, key in _records(stack, outside):
        email = emails.get(who, who)
        if email in asked:
            seen[email, what] += 1
            keys.add(key)
    sql = """
        SELECT s.effect_key::text FROM workflows.step s JOIN workflows.run r ON (r.practice_id, r.id) = (s.practice_id, s.run_id)
        WHERE r.patient_id = ANY(%s::uuid[]) AND s.effect_key IS NOT NULL
    """
    assert keys - {None} <= {row[0] for row in stack.sql(sql, [person.id for _, person in people])}
    return seen


def _records(stack: Stack, outside: Outside) -> Iterator[tuple[str, str, str | None]]:
    """About whom, what, and its effect key, as often as it was done."""
    mails, calls, bookings = (stack.client.simulator(provider, "GET", "accepted") for provider in PROVIDERS)
    for one in mails:
        yield one["personalizations"][0]["to"][0]["email"], one["subject"], one.get("custom_args", {}).get("vantage_effect")
    for one in calls:
        yield one["to_number"], "call", one["metadata"].get("vantage_effect")
    for one in bookings:
        yield one["attendee"]["email"], f"{'run' if one['key'] else 'page'}, {one['status']}", one["metadata"].get("vantage_effect")
    for key, count in outside.taken.items():
        yield from [(*outside.about[key], key)] * count


def _assert_runs(stack: Stack, people: Sequence[tuple[Party, Person]]) -> None:
    """By the record over the API: one completed run for each."""
    for party in parties_of(people):
        theirs = {person.id for one, person in people if one is party}
        runs = items(stack, party.practice, "/v1/runs", workflow_id=party.workflow_id, limit=len(theirs))
        failed = [(run["id"], run["status"], run["failed_step"], run["error_code"]) for run in runs if run["status"] != "completed"]
        assert failed == [], failed
        assert Counter(run["patient_id"] for run in runs) == Counter(theirs)
