"""Signatures, pauses and addresses of outbound webhooks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from libs.common.outbound.addresses import allowed_address
from libs.contracts.registry import MESSAGES
from services.scheduling.rules.addresses import WebhookUrlRefused, check_url
from services.scheduling.rules.outbound import EVENT_TYPES, webhook_body
from services.scheduling.rules.retries import PAUSES_SECONDS, TRIES, Answer, Outcome, outcome_of, pause_after
from services.scheduling.rules.signatures import calcom_signature_valid, secret_key, secret_text, signed_headers

NOW = datetime.now(UTC)


class TestSignedHeaders:
    @given(st.binary(min_size=24, max_size=64), st.text(max_size=200))
    def test_are_accepted_by_the_official_library(self, random: bytes, text: str) -> None:
        secret, body = secret_text(random), orjson.dumps({"data": text})
        headers = signed_headers([secret], "msg_1", datetime.now(UTC), body)
        assert Webhook(secret).verify(body, headers) == {"data": text}

    def test_are_accepted_with_either_secret_during_a_rotation(self) -> None:
        old, new = secret_text(b"o" * 32), secret_text(b"n" * 32)
        headers = signed_headers([new, old], "msg_1", datetime.now(UTC), b"{}")
        for secret in (old, new):
            assert Webhook(secret).verify(b"{}", headers) == {}

    def test_equal_the_published_vector(self) -> None:
        at = datetime.fromtimestamp(1614265330, UTC)
        headers = signed_headers(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
        assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_do_not_depend_on_the_time_zone_of_the_clock(self) -> None:
        secret, there = secret_text(b"s" * 32), NOW.astimezone(timezone(timedelta(hours=9)))
        assert signed_headers([secret], "m", NOW, b"") == signed_headers([secret], "m", there, b"")

    def test_refuse_an_id_with_a_dot_and_a_time_without_zone(self) -> None:
        secret = secret_text(b"s" * 32)
        with pytest.raises(ValueError, match="dot"):
            signed_headers([secret], "a.b", NOW, b"")
        with pytest.raises(ValueError, match="aware"):
            signed_headers([secret], "ab", NOW.replace(tzinfo=None), b"")


class TestSecret:
    @pytest.mark.parametrize("secret", ["", "whsec_", "whsec_====", "   ", "whsec_not base64!"])
    def test_is_refused_when_it_holds_no_key(self, secret: str) -> None:
        with pytest.raises(ValueError, match="no webhook secret"):
            secret_key(secret)

    def test_is_read_without_its_padding(self) -> None:
        assert secret_key(secret_text(b"k" * 25).rstrip("=")) == b"k" * 25

    @pytest.mark.parametrize("size", [0, 23, 65])
    def test_has_24_to_64_bytes(self, size: int) -> None:
        with pytest.raises(ValueError, match="24 to 64"):
            secret_text(b"x" * size)


class TestCalcomSignature:
    BODY = b'{"triggerEvent":"PING"}'
    SIGNATURE = "4de912e9f04279c5137991bba53375a79fd240f478fb360fec51f93228bfebf9"

    def test_is_valid_for_the_exact_bytes(self) -> None:
        assert calcom_signature_valid(self.BODY, self.SIGNATURE, ["my-secret"])

    def test_is_valid_for_the_previous_secret_during_a_rotation(self) -> None:
        assert calcom_signature_valid(self.BODY, self.SIGNATURE.upper(), ["new-secret", "my-secret"])

    @pytest.mark.parametrize("signature", [None, "", "no-secret-provided", "sha256=" + SIGNATURE, SIGNATURE[:-1], "é" * 64, "\ud800"])
    def test_is_refused_when_it_is_anything_else(self, signature: str | None) -> None:
        assert not calcom_signature_valid(self.BODY, signature, ["my-secret"])

    def test_is_refused_for_other_bytes_another_secret_or_none(self) -> None:
        assert not calcom_signature_valid(self.BODY + b"\n", self.SIGNATURE, ["my-secret"])
        assert not calcom_signature_valid(self.BODY, self.SIGNATURE, ["my-secreT"])
        assert not calcom_signature_valid(self.BODY, self.SIGNATURE, [])


class TestOutcome:
    @pytest.mark.parametrize("status", [200, 202, 204, 299])
    def test_is_delivered_for_2xx(self, status: int) -> None:
        assert outcome_of(Answer(status, None, 1), 1) is Outcome.DELIVERED

    @pytest.mark.parametrize("status", [None, 199, 301, 308, 400, 404, 429, 500, 503])
    def test_is_another_try_for_anything_else(self, status: int | None) -> None:
        assert outcome_of(Answer(status, "timeout" if status is None else None, 1), 1) is Outcome.AGAIN

    def test_is_given_up_after_the_last_try(self) -> None:
        assert outcome_of(Answer(500, None, 1), TRIES - 1) is Outcome.AGAIN
        assert outcome_of(Answer(500, None, 1), TRIES) is Outcome.GIVEN_UP

    def test_closes_the_endpoint_for_410(self) -> None:
        assert outcome_of(Answer(410, None, 1), 1) is Outcome.ENDPOINT_GONE


class TestPause:
    @given(st.integers(1, 20), st.floats(0, 1, exclude_max=True))
    def test_stays_within_a_fifth_of_the_plan(self, attempt: int, chance: float) -> None:
        planned = PAUSES_SECONDS[min(attempt, len(PAUSES_SECONDS)) - 1]
        assert 0.8 * planned <= pause_after(attempt, chance, NOW).total_seconds() <= 1.2 * planned

    def test_follows_retry_after_up_to_twice_the_plan(self) -> None:
        assert pause_after(2, 0.5, NOW, "400").total_seconds() == 400
        assert pause_after(2, 0.5, NOW, "86400").total_seconds() == 600
        later = (NOW + timedelta(seconds=450)).strftime("%a, %d %b %Y %H:%M:%S GMT")
        assert 440 <= pause_after(2, 0.5, NOW, later).total_seconds() <= 450

    @pytest.mark.parametrize("text", ["1", "-5", "soon", "", "٣", "9" * 40, "Wed, 99 Foo 2026"])
    def test_ignores_a_retry_after_that_is_shorter_or_unreadable(self, text: str) -> None:
        assert pause_after(2, 0.5, NOW, text).total_seconds() == 300


REFUSED = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1", "nonsense", "127.1", "2130706433",
]  # fmt: skip


class TestAllowedAddress:
    @pytest.mark.parametrize("address", REFUSED)
    def test_refuses_what_is_not_plainly_public(self, address: str) -> None:
        assert not allowed_address(address)

    @pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:93.184.216.34"])
    def test_allows_public_addresses(self, address: str) -> None:
        assert allowed_address(address)

    @pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
    def test_allows_loopback_in_development_and_nothing_else_private(self, address: str) -> None:
        assert allowed_address(address, development=True)
        assert not allowed_address("10.0.0.1", development=True)
        assert not allowed_address("169.254.169.254", development=True)


class TestCheckUrl:
    @pytest.mark.parametrize(
        "url", ["https://hooks.clinic.example/in", "https://hooks.clinic.example:443/?a=b", "https://xn--bcher-kva.example/"]
    )
    def test_takes_a_public_https_address(self, url: str) -> None:
        check_url(url)

    @pytest.mark.parametrize(
        "url",
        [
            "", "hooks.clinic.example", "http://hooks.clinic.example/", "https://hooks.clinic.example:8443/", "https://u:p@hooks.clinic.example/",
            "https://u@hooks.clinic.example/", "https://hooks.clinic.example/#x", "https://127.0.0.1/", "https://[::1]/", "https://2130706433/",
            "https://0x7f.1/", "https://localhost/", "https://bücher.example/", "https://hooks.clinic.example\\@evil.example/", "https:///x",
            "https://hooks.clinic.example:99999/", "ftp://hooks.clinic.example/", "https://hooks .clinic.example/", "https://a.example/\n",
            "https://hooks.clinic.example/" + "a" * 2000, "https://hooks.clinic.example./", "https://[fe80::1%25eth0]/",
        ],
    )  # fmt: skip
    def test_refuses_anything_else(self, url: str) -> None:
        with pytest.raises(WebhookUrlRefused) as caught:
            check_url(url)
        assert caught.value.pointer == "/url"

    def test_takes_http_and_ports_in_development_only(self) -> None:
        check_url("http://127.0.0.1:9999/in", development=True)
        with pytest.raises(WebhookUrlRefused):
            check_url("ftp://127.0.0.1/", development=True)


class TestBody:
    def test_names_type_time_and_data(self) -> None:
        at = datetime(2026, 12, 1, 10, 0, tzinfo=timezone(timedelta(hours=1)))
        assert (
            webhook_body("appointment.booked", at, {"a": 1})
            == b'{"type":"appointment.booked","timestamp":"2026-12-01T09:00:00.000Z","data":{"a":1}}'
        )

    def test_knows_only_events_that_exist(self) -> None:
        assert set(EVENT_TYPES.values()) <= set(MESSAGES)
