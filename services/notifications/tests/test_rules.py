"""How reports order, what settings may be."""

from __future__ import annotations

import base64
import itertools

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.notifications import MessageStatus
from services.notifications.rules.mail import (
    later_status,
    possible_api_key,
    sender_address,
    verification_key,
)

STATUSES = st.sampled_from(list(MessageStatus))


def spki(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(public).decode()


class TestLaterStatus:
    @given(st.lists(STATUSES, max_size=5))
    def test_ends_the_same_in_whatever_order_reports_come(self, reports: list[MessageStatus]) -> None:
        ends = set()
        for order in itertools.permutations(reports):
            status = MessageStatus.QUEUED
            for report in order:
                status = later_status(status, report)
            ends.add(status)
        failures = {MessageStatus.BOUNCED, MessageStatus.DROPPED, MessageStatus.FAILED}
        assert len(ends) == 1 or ends <= failures

    @given(STATUSES, STATUSES)
    def test_takes_nothing_back(self, current: MessageStatus, reported: MessageStatus) -> None:
        further = later_status(current, reported)
        assert later_status(further, current) is further


class TestSettings:
    @pytest.mark.parametrize("text", ["intake@lindenhof.example", "Intake+x@sub.lindenhof.example"])
    def test_an_address_to_send_from(self, text: str) -> None:
        assert sender_address(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "intake",
            "intake@",
            "@lindenhof.example",
            "a b@lindenhof.example",
            "ü@lindenhof.example",
            "x@lindenhof.example\n",
            "a@b,c@d.example",
        ],
    )
    def test_no_address_to_send_from(self, text: str) -> None:
        with pytest.raises(ValueError, match="not an e-mail address"):
            sender_address(text)

    @pytest.mark.parametrize(
        ("key", "possible"),
        [
            ("SG.abcdefgh", True),
            ("short", False),
            ("SG.abc\r\nX-Header: 1", False),
            ("SG.with blank", False),
            ("SG.ümlautümlaut", False),
            ("x" * 201, False),
        ],
    )
    def test_an_api_key_travels_in_a_header(self, key: str, possible: bool) -> None:
        assert possible_api_key(key) is possible

    def test_a_verification_key_is_p256(self) -> None:
        assert verification_key(spki(ec.generate_private_key(ec.SECP256R1()))).curve.name == "secp256r1"

    @pytest.mark.parametrize(
        "text",
        ["", "x", "AAAA", spki(ec.generate_private_key(ec.SECP384R1())), spki(ed25519.Ed25519PrivateKey.generate())],
        ids=["empty", "no base64", "no key", "another curve", "another algorithm"],
    )
    def test_anything_else_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match=r".*"):
            verification_key(text)
