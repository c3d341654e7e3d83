"""Sealed values: opened where they belong and nowhere else, brought under new keys without touching what they hold."""

from __future__ import annotations

import os
from hashlib import sha256
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from libs.common.secrets import KeyUnknown, KeyWrong, LocalKeys, SealBroken, SecretBox, key_from_hex
from libs.common.secrets.envelope import HEAD_BYTES, heading, key_id_of, unpacked

OLD = "2025:" + sha256(b"old").hexdigest()
NEW = "2026:" + sha256(b"new").hexdigest()
BEFORE = SecretBox.local(OLD)
DURING = SecretBox.local(f"{NEW},{OLD}")
AFTER = SecretBox.local(NEW)

secret_texts = st.text(max_size=300)
purposes = st.text(max_size=40)
practices = st.uuids()


def version_1(key_hex: str, practice: UUID, purpose: str, secret: str) -> bytes:
    """As installations sealed before there were envelopes."""
    nonce = os.urandom(12)
    return b"\x01" + nonce + AESGCM(bytes.fromhex(key_hex)).encrypt(nonce, secret.encode(), f"{practice}|{purpose}".encode())


class TestSealing:
    @given(practices, purposes, secret_texts)
    def test_opens_what_it_sealed(self, practice: UUID, purpose: str, secret: str) -> None:
        assert BEFORE.open(practice, purpose, BEFORE.seal(practice, purpose, secret)) == secret

    @given(practices, st.binary(max_size=300))
    def test_keeps_bytes_as_they_are(self, practice: UUID, value: bytes) -> None:
        assert BEFORE.open_bytes(practice, "answer", BEFORE.seal_bytes(practice, "answer", value)) == value

    @given(practices, purposes, secret_texts)
    def test_never_repeats_key_nonce_or_ciphertext(self, practice: UUID, purpose: str, secret: str) -> None:
        one, other = (unpacked(BEFORE.seal(practice, purpose, secret)) for _ in range(2))
        assert one.wrapped != other.wrapped
        assert one.nonce != other.nonce
        assert one.ciphertext != other.ciphertext

    @given(practices, practices, purposes, purposes, secret_texts)
    def test_opens_for_no_other_practice_and_no_other_purpose(
        self, practice: UUID, elsewhere: UUID, purpose: str, otherwise: str, secret: str
    ) -> None:
        sealed = BEFORE.seal(practice, purpose, secret)
        for place in {(elsewhere, purpose), (practice, otherwise), (elsewhere, otherwise)} - {(practice, purpose)}:
            with pytest.raises(SealBroken):
                BEFORE.open(*place, sealed)
            with pytest.raises(SealBroken):
                DURING.rewrap(*place, sealed)

    @given(secret_texts, st.data())
    def test_opens_nothing_of_which_a_bit_was_flipped(self, secret: str, data: st.DataObject) -> None:
        practice = uuid4()
        sealed = bytearray(DURING.seal(practice, "mail", secret))
        bit = data.draw(st.integers(min_value=0, max_value=len(sealed) * 8 - 1))
        sealed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            DURING.open(practice, "mail", bytes(sealed))

    @given(secret_texts, st.data())
    def test_opens_nothing_that_was_cut_off(self, secret: str, data: st.DataObject) -> None:
        practice = uuid4()
        sealed = DURING.seal(practice, "mail", secret)
        with pytest.raises(SealBroken):
            DURING.open(practice, "mail", sealed[: data.draw(st.integers(min_value=0, max_value=len(sealed) - 1))])

    @given(st.binary(max_size=120) | st.binary(max_size=120).map(b"\x02".__add__) | st.binary(max_size=120).map(b"\x01".__add__))
    def test_opens_nothing_that_was_never_sealed(self, sealed: bytes) -> None:
        with pytest.raises(SealBroken):
            DURING.open(uuid4(), "mail", sealed)
        with pytest.raises(SealBroken):
            DURING.rewrap(uuid4(), "mail", sealed)

    @given(secret_texts)
    def test_a_wrapped_key_fits_no_other_value(self, secret: str) -> None:
        practice = uuid4()
        one, other = BEFORE.seal(practice, "mail", secret), BEFORE.seal(practice, "mail", secret)
        size = len(other) - len(unpacked(other).ciphertext)
        with pytest.raises(SealBroken):
            BEFORE.open(practice, "mail", one[:size] + other[size:])

    def test_a_key_that_was_not_given_is_told_from_a_broken_value(self) -> None:
        practice = uuid4()
        sealed = BEFORE.seal(practice, "mail", "x")
        for attempt in (AFTER.open, AFTER.rewrap):
            with pytest.raises(KeyUnknown):
                attempt(practice, "mail", sealed)

    def test_another_key_under_the_same_id_opens_nothing(self) -> None:
        practice = uuid4()
        with pytest.raises(SealBroken):
            SecretBox.local("2025:" + os.urandom(32).hex()).open(practice, "mail", BEFORE.seal(practice, "mail", "x"))


class TestRewrapping:
    @given(practices, purposes, secret_texts)
    def test_moves_a_value_to_the_current_key_and_leaves_its_ciphertext(self, practice: UUID, purpose: str, secret: str) -> None:
        sealed = BEFORE.seal(practice, purpose, secret)
        anew = DURING.rewrap(practice, purpose, sealed)
        assert anew is not None
        before, after = unpacked(sealed), unpacked(anew)
        assert (before.key_id, after.key_id) == ("2025", "2026")
        assert (before.nonce, before.ciphertext) == (after.nonce, after.ciphertext)
        assert AFTER.open(practice, purpose, anew) == DURING.open(practice, purpose, sealed) == secret

    @given(practices, purposes, secret_texts)
    def test_has_nothing_to_do_for_a_value_under_the_current_key(self, practice: UUID, purpose: str, secret: str) -> None:
        assert DURING.rewrap(practice, purpose, DURING.seal(practice, purpose, secret)) is None

    def test_values_under_the_current_key_are_known_by_how_they_begin(self) -> None:
        practice = uuid4()
        assert DURING.seal(practice, "mail", "x").startswith(DURING.heading)
        assert not BEFORE.seal(practice, "mail", "x").startswith(DURING.heading)
        assert not SecretBox.local("20261:" + NEW[5:]).seal(practice, "mail", "x").startswith(DURING.heading)


class TestVersion1:
    @given(practices, purposes, secret_texts, st.sampled_from([f"{NEW},{OLD}", f"{OLD},{NEW}", OLD]))
    def test_opens_under_whichever_listed_key_it_was_sealed(self, practice: UUID, purpose: str, secret: str, keys: str) -> None:
        sealed = version_1(OLD[5:], practice, purpose, secret)
        assert SecretBox.local(keys).open(practice, purpose, sealed) == secret

    def test_is_refused_elsewhere_altered_and_under_no_listed_key(self) -> None:
        practice = uuid4()
        sealed = version_1(OLD[5:], practice, "mail", "x")
        altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
        tries = (
            (DURING, uuid4(), "mail", sealed),
            (DURING, practice, "x", sealed),
            (DURING, practice, "mail", altered),
            (AFTER, practice, "mail", sealed),
        )
        for box, who, purpose, value in tries:
            with pytest.raises(SealBroken):
                box.open(who, purpose, value)
            with pytest.raises(SealBroken):
                box.rewrap(who, purpose, value)

    @given(practices, purposes, secret_texts)
    def test_is_sealed_anew_also_under_the_key_it_was_under(self, practice: UUID, purpose: str, secret: str) -> None:
        for box in (BEFORE, DURING):
            anew = box.rewrap(practice, purpose, version_1(OLD[5:], practice, purpose, secret))
            assert anew is not None
            assert anew.startswith(box.heading)
            assert box.open(practice, purpose, anew) == secret


class TestKeys:
    def test_the_first_is_current_and_blanks_around_entries_do_not_count(self) -> None:
        assert LocalKeys.parse(f" {NEW} ,\n{OLD}").current == "2026"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "entry 1 is not id:key"),
            ("   ", "entry 1 is not id:key"),
            (OLD[5:], "entry 1 is not id:key"),
            (f"{OLD},", "entry 2 is not id:key"),
            (f"a b:{OLD[5:]}", "entry 1 is not id:key"),
            (f"{'a' * 33}:{OLD[5:]}", "entry 1 is not id:key"),
            (f"{OLD},b:{NEW[5:-2]}", "the key of entry 2 is not 32 bytes in hex"),
            (f"a:{OLD[5:]}00", "the key of entry 1 is not 32 bytes in hex"),
            (f"a:{'zz' * 32}", "the key of entry 1 is not 32 bytes in hex"),
            (f"{OLD},2025:{NEW[5:]}", "entry 2 repeats the id of another"),
            (f"{OLD},again:{OLD[5:].upper()}", "entry 2 repeats the key of another"),
            (f"{OLD},a:{'00' * 32}", "the key of entry 2 is a placeholder, not a random key"),
            (f"a:{'ab' * 32}", "the key of entry 1 is a placeholder, not a random key"),
            (f"a:{'deadbeef' * 8}", "the key of entry 1 is a placeholder, not a random key"),
            (f"a:{'0123456789abcdef' * 4}", "the key of entry 1 is a placeholder, not a random key"),
            (f"a:{bytes(range(32)).hex()}", "the key of entry 1 is a placeholder, not a random key"),
        ],
    )
    def test_what_is_none_is_refused_by_its_place_and_not_repeated(self, text: str, said: str) -> None:
        with pytest.raises(KeyWrong) as refused:
            LocalKeys.parse(text)
        assert str(refused.value) == said

    @given(st.binary(min_size=32, max_size=32).filter(lambda key: len(set(key)) > 20))
    def test_what_was_drawn_at_random_is_taken(self, key: bytes) -> None:
        if len({(after - before) % 256 for before, after in pairwise(key)}) > 1:
            assert key_from_hex(key.hex()) == key

    def test_do_not_show_in_what_is_printed(self) -> None:
        assert OLD[5:] not in repr(LocalKeys.parse(OLD)) + repr(BEFORE) + repr(vars(BEFORE))

    @given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,199}", fullmatch=True))
    def test_an_id_is_read_from_the_head_of_a_value(self, key_id: str) -> None:
        assert key_id_of((heading(key_id) + os.urandom(300))[:HEAD_BYTES]) == key_id

    @pytest.mark.parametrize("key_id", ["", "a b", "ä", "x" * 201, "-a"])
    def test_an_id_that_would_not_fit_into_a_value_is_refused(self, key_id: str) -> None:
        with pytest.raises(ValueError, match="a key id is"):
            heading(key_id)


class Vault:
    """Stands for a key management service: ids are long names, wrapped keys have its own form, it may be away."""

    current = "projects/vantage/keys:secrets/7"

    def __init__(self) -> None:
        self._held: dict[bytes, tuple[bytes, bytes]] = {}

    def wrap(self, data_key: bytes, bound: bytes) -> tuple[str, bytes]:
        ticket = os.urandom(700)
        self._held[ticket] = data_key, bound
        return self.current, ticket

    def unwrap(self, key_id: str, wrapped: bytes, bound: bytes) -> bytes:
        if key_id != self.current:
            raise KeyUnknown
        data_key, bound_to = self._held.get(wrapped, (b"", b""))
        if bound_to != bound:
            raise SealBroken
        return data_key


def test_a_key_management_service_fits() -> None:
    practice, box = uuid4(), SecretBox(Vault())
    sealed = box.seal(practice, "mail", "x")
    assert box.open(practice, "mail", sealed) == "x"
    assert box.rewrap(practice, "mail", sealed) is None
    for who, purpose in ((uuid4(), "mail"), (practice, "sms")):
        with pytest.raises(SealBroken):
            box.open(who, purpose, sealed)
    with pytest.raises(KeyUnknown):
        DURING.open(practice, "mail", sealed)
