"""People, keys and practices through the gateway: made, invited, used, ended and suspended, within seconds and without loss."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from supabase_auth import SyncGoTrueClient
from supabase_auth.errors import AuthApiError

from deploy.demo.client import Client, Person
from deploy.demo.journey import Practice, book, set_up
from libs.contracts.topics import SERVICES
from libs.testing.probe import until
from libs.testing.stack import Stack
from tests.e2e.booking import ONE_MAIL, mails_to

SECONDS = 60
"""Within this time a decision counts everywhere."""


def codes(client: Client, token: str) -> set[str]:
    """What every service's door says to this token."""
    answers = [client.ask("GET", f"/v1/debug/{service}/session", token) for service in SERVICES]
    return {answer.json().get("code", "welcome") for answer in answers}


def everywhere(client: Client, token: str, code: str) -> None:
    until(lambda: codes(client, token), lambda seen: seen == {code}, within=SECONDS, what=f"every door saying {code}")


def invite(client: Client, practice: Practice, role: str = "regular_user") -> tuple[str, Person]:
    """A colleague who came; our id of them."""
    email = f"kim.{secrets.token_hex(3)}@practice.example"
    invited = client.call("POST", "/v1/invitations", practice.admin, {"name": "Kim Holt", "email": email, "role": role}).json()
    return invited["user_id"], client.accept(email)


@pytest.fixture(scope="module")
def practice(stack: Stack) -> Practice:
    return set_up(stack.client, stack.state, workflow=ONE_MAIL)


class TestTheJourney:
    def test_from_an_invitation_to_a_suspension(self, stack: Stack) -> None:
        """A Vantage admin makes a practice; its admin comes, invites a colleague, makes a key, uses it; the practice is suspended."""
        client = stack.client
        practice = set_up(client, stack.state, workflow=ONE_MAIL)
        _, colleague = invite(client, practice)
        me = client.call("GET", "/v1/me", colleague.token).json()
        assert (me["role"], me["practice"]["id"], "workflows:write" in me["permissions"]) == ("regular_user", practice.id, False)
        body = {"name": "Website", "scopes": ["patients:read", "appointments:read"], "addresses": ["127.0.0.1"]}
        key = client.call("POST", "/v1/api-keys", practice.admin, body).json()["key"]
        assert [patient["id"] for patient in client.call("GET", "/v1/patients", key).json()["items"]] == [practice.patient_id]
        assert client.ask("POST", "/v1/patients", key, {"given_name": "A", "family_name": "B"}).json()["code"] == "permission_missing"

        path = f"/v1/practices/{practice.id}"
        client.call("POST", f"{path}/suspend", client.vantage_admin().token, {"reason": "The contract has ended."})
        for token in (practice.admin, colleague.token):
            everywhere(client, token, "practice_is_suspended")
        assert client.ask("GET", "/v1/patients", key).json()["code"] == "practice_is_suspended"
        with pytest.raises(Exception, match="Your practice is suspended"):
            client.log_in(practice.person)
        # What comes from outside is taken, and waits.
        book(client, stack.state, practice)
        until(
            lambda: stack.sql("SELECT count(*) FROM workflows.parked WHERE practice_id = %s AND code = 'held'", practice.id),
            lambda rows: rows[0][0] > 0,
            what="the booking being held",
        )
        assert mails_to(stack, [practice.patient_email]).total() == 0

        client.call("POST", f"{path}/reactivate", client.vantage_admin().token)
        everywhere(client, practice.admin, "welcome")
        client.until("the e-mail", lambda: mails_to(stack, [practice.patient_email]).total() == 1)
        stack.drained()
        assert mails_to(stack, [practice.patient_email]).total() == 1
        entries = client.call("GET", "/v1/ledger/entries", practice.admin, params={"limit": 100}).json()["items"]
        told = {entry["entry"]["type"].removeprefix("vantage.") for entry in entries}
        assert {
            "practices.practice-created.v1", "practices.user-added.v1", "practices.api-key-created.v1", "practices.practice-suspended.v1",
            "practices.practice-reactivated.v1", "patients.access-denied.v1",
        } <= told  # fmt: skip


class TestEnding:
    def test_a_deactivated_users_token_stops_everywhere(self, stack: Stack, practice: Practice) -> None:
        user_id, colleague = invite(stack.client, practice)
        everywhere(stack.client, colleague.token, "permission_missing")
        stack.client.call("PATCH", f"/v1/users/{user_id}", practice.admin, {"active": False})
        everywhere(stack.client, colleague.token, "access_ended")
        with pytest.raises(Exception, match="Your access has ended"):
            stack.client.log_in(colleague)

    def test_whom_the_provider_bans_is_out_and_comes_back(self, stack: Stack, practice: Practice) -> None:
        _, colleague = invite(stack.client, practice)
        identity = stack.sql("SELECT subject FROM practices.member WHERE email = %s", colleague.email)[0][0]
        service_key = stack.state.secrets["auth_service_key"]
        stack.client.auth("PUT", f"/admin/users/{identity}", {"ban_duration": "24h"}, token=service_key)
        everywhere(stack.client, colleague.token, "access_ended")
        stack.client.auth("PUT", f"/admin/users/{identity}", {"ban_duration": "none"}, token=service_key)
        everywhere(stack.client, colleague.token, "permission_missing")

    def test_a_revoked_key_stops(self, stack: Stack, practice: Practice) -> None:
        made = stack.client.call("POST", "/v1/api-keys", practice.admin, {"name": "Gone", "scopes": ["patients:read"]}).json()
        assert stack.client.ask("GET", "/v1/patients", made["key"]).status_code == 200
        stack.client.call("DELETE", f"/v1/api-keys/{made['id']}", practice.admin)
        refused = until(
            lambda: stack.client.ask("GET", "/v1/patients", made["key"]), lambda answer: answer.status_code == 401, within=5, what="refusal"
        )
        assert (refused.headers["content-type"], refused.json()["code"]) == ("application/problem+json", "api_key_refused")

    def test_a_rotated_key_and_its_successor_overlap(self, stack: Stack, practice: Practice) -> None:
        old = stack.client.call("POST", "/v1/api-keys", practice.admin, {"name": "Old", "scopes": ["patients:read"]}).json()
        new = stack.client.call("POST", f"/v1/api-keys/{old['id']}/rotate", practice.admin, {"overlap_hours": 1}).json()
        assert [stack.client.ask("GET", "/v1/patients", key["key"]).status_code for key in (old, new)] == [200, 200]

    def test_a_key_counts_from_its_addresses_only(self, stack: Stack, practice: Practice) -> None:
        body = {"name": "Elsewhere", "scopes": ["patients:read"], "addresses": ["192.0.2.0/24"]}
        key = stack.client.call("POST", "/v1/api-keys", practice.admin, body).json()["key"]
        refused = stack.client.ask("GET", "/v1/patients", key, headers={"X-Forwarded-For": "192.0.2.7"})
        assert (refused.status_code, refused.json()["code"]) == (403, "address_not_allowed")


class TestEntering:
    def test_is_reasoned_limited_and_seen(self, stack: Stack, practice: Practice) -> None:
        client, vantage = stack.client, stack.client.vantage_admin().token
        inside = {"Vantage-Practice": practice.id}
        assert client.ask("GET", "/v1/patients", vantage, headers=inside).json()["code"] == "entry_needed"
        path = f"/v1/practices/{practice.id}/entries"
        entry = client.call("POST", path, vantage, {"reason": "The practice asked for help.", "minutes": 5}).json()
        until(
            lambda: client.ask("GET", "/v1/patients", vantage, headers=inside).status_code, lambda status: status == 200, what="the way in"
        )
        assert client.ask("POST", "/v1/api-keys", vantage, {"name": "x", "scopes": ["patients:read"]}, headers=inside).status_code == 403
        (seen,) = client.call("GET", "/v1/entries", practice.admin).json()["items"]
        assert (seen["id"], seen["reason"]) == (entry["id"], "The practice asked for help.")
        client.call("POST", f"{path}/{entry['id']}/close", vantage)
        until(lambda: client.ask("GET", "/v1/patients", vantage, headers=inside).status_code, lambda status: status == 403, what="the end")


class TestReconcile:
    def test_finds_nothing_to_repair_where_reports_arrived(self, stack: Stack, practice: Practice) -> None:
        stack.drained()
        first = stack.command("practices", "reconcile")
        again = stack.command("practices", "reconcile")
        assert (again.returncode, again.stdout) == (0, "0 repaired\n"), (first.stdout, again.stderr)

    def test_repairs_what_was_lost(self, stack: Stack, practice: Practice) -> None:
        user_id, colleague = invite(stack.client, practice)
        hook: dict[str, Any] = {"url": "http://127.0.0.1:9/nobody", "secret": stack.state.secrets["hook_secrets"].removeprefix("v1,")}
        stack.client.simulator("auth", "POST", "user_webhook", hook)
        identity = stack.sql("SELECT subject FROM practices.member WHERE id = %s", user_id)[0][0]
        stack.client.auth("DELETE", f"/admin/users/{identity}", {}, token=stack.state.secrets["auth_service_key"])
        found = stack.command("practices", "reconcile")
        stack.system._tell_auth()
        assert (found.returncode, f"gone there\t{identity}\n" in found.stdout) == (1, True), found.stderr
        everywhere(stack.client, colleague.token, "access_ended")


def test_a_command_with_bad_arguments_says_so_in_one_line(stack: Stack) -> None:
    answer = stack.command("practices", "operators", "add", "--name", "Vera", "--email", "nobody")
    assert (answer.returncode, answer.stderr) == (1, "practices: operators: this is not an e-mail address\n")


class TestTheProvidersOwnClient:
    """Supabase's client library, against our gateway as a frontend would use it."""

    def test_logs_in_refreshes_and_leaves(self, stack: Stack, practice: Practice) -> None:
        people = SyncGoTrueClient(url=f"{stack.state.gateway}/auth/v1", persist_session=False, auto_refresh_token=False)
        session = people.sign_in_with_password({"email": practice.person.email, "password": practice.person.password}).session
        assert session is not None
        me = stack.client.call("GET", "/v1/me", session.access_token).json()
        assert (me["practice"]["id"], me["user"]["email"]) == (practice.id, practice.person.email)
        fresh = people.refresh_session().session
        assert fresh is not None
        assert fresh.access_token != session.access_token
        assert stack.client.call("GET", "/v1/patients", fresh.access_token).status_code == 200
        people.sign_out()
        assert people.get_session() is None

    def test_says_in_our_words_why_somebody_cannot_come_in(self, stack: Stack, practice: Practice) -> None:
        user_id, colleague = invite(stack.client, practice)
        stack.client.call("PATCH", f"/v1/users/{user_id}", practice.admin, {"active": False})
        people = SyncGoTrueClient(url=f"{stack.state.gateway}/auth/v1", persist_session=False, auto_refresh_token=False)
        with pytest.raises(AuthApiError, match=r"Your access has ended\."):
            people.sign_in_with_password({"email": colleague.email, "password": colleague.password})
        with pytest.raises(AuthApiError, match="Invalid login credentials"):
            people.sign_in_with_password({"email": colleague.email, "password": "another password"})
