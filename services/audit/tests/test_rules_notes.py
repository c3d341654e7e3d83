"""Signed notes, checkpoints and receipts as their formats say; whatever does not fit is refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.audit.rules.merkle import leaf_hash
from services.audit.rules.notes import Checkpoint, NoteInvalid, Verifier, opened, parse_proof, proof_text, sign, verifier_of

KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
NAME = "ledger.vantage.example"
OURS = verifier_of(NAME, KEY)
CHECKPOINT = Checkpoint(f"{NAME}/abc", 42, leaf_hash(b"x"))
NOTE = sign(CHECKPOINT.body, NAME, KEY)

# The example of the reference implementation (golang.org/x/mod/sumdb/note).
KNOWN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
KNOWN_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


class TestNote:
    def test_of_the_reference_implementation_opens(self) -> None:
        assert opened(KNOWN_NOTE, [Verifier.parse(KNOWN_KEY)]).startswith("If you think")

    def test_of_ours_opens_with_our_key(self) -> None:
        assert Checkpoint.parse(opened(NOTE, [OURS])) == CHECKPOINT

    def test_with_a_witness_we_do_not_know_opens_all_the_same(self) -> None:
        witnessed = NOTE + sign(CHECKPOINT.body, "witness.example", OTHER).rpartition("\n\n")[2]
        assert opened(witnessed, [OURS]) == CHECKPOINT.body

    @pytest.mark.parametrize(
        "note",
        [
            NOTE.replace("\n42\n", "\n43\n"),
            NOTE.replace("abc", "abd"),
            NOTE.replace(NAME + " ", "other.example "),
            sign(CHECKPOINT.body, NAME, OTHER),
            CHECKPOINT.body,
            NOTE[:-1],
            NOTE.replace("\u2014 ", "- "),
            NOTE.rpartition(" ")[0] + " AAAA\n",
            NOTE.rpartition(" ")[0] + " not base64\n",
            NOTE + NOTE.rpartition("\n\n")[2] * 100,
            "",
            "\n\n",
        ],
    )
    def test_that_was_altered_or_is_none_does_not_open(self, note: str) -> None:
        with pytest.raises(NoteInvalid):
            opened(note, [OURS])

    def test_with_a_good_and_a_broken_signature_of_ours_does_not_open(self) -> None:
        broken = base64.b64encode(OURS.key_id + b"\x00" * 64).decode()
        with pytest.raises(NoteInvalid, match="does not fit"):
            opened(f"{NOTE}\u2014 {NAME} {broken}\n", [OURS])


class TestKey:
    def test_is_read_as_it_is_written(self) -> None:
        assert Verifier.parse(OURS.vkey + "\n") == OURS
        assert Verifier.parse(KNOWN_KEY).vkey == KNOWN_KEY

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "a+b",
            OURS.vkey[:-4],
            OURS.vkey.replace(NAME, "other.example"),
            f"{NAME}+{OURS.key_id.hex()}+!!!!",
            KNOWN_KEY.replace("ARpc", "BRpc"),
        ],
    )
    def test_that_does_not_fit_its_id_is_refused(self, text: str) -> None:
        with pytest.raises(NoteInvalid):
            Verifier.parse(text)


class TestCheckpoint:
    @pytest.mark.parametrize(
        "body",
        ["", "x", "x\n1\n", "\n1\n" + base64.b64encode(b"x" * 32).decode() + "\n", "x\n01\n" + base64.b64encode(b"x" * 32).decode() + "\n",
         "x\n-1\n" + base64.b64encode(b"x" * 32).decode() + "\n", "x\n\u0661\n" + base64.b64encode(b"x" * 32).decode() + "\n",
         "x\n" + "9" * 5000 + "\n" + base64.b64encode(b"x" * 32).decode() + "\n", "x\n1\nAAAA\n", "x\n1\n!\n"],
    )  # fmt: skip
    def test_that_is_none_is_refused(self, body: str) -> None:
        with pytest.raises(NoteInvalid):
            Checkpoint.parse(body)

    def test_may_have_lines_of_others_below(self) -> None:
        assert Checkpoint.parse(CHECKPOINT.body + "extension\n") == CHECKPOINT


class TestReceipt:
    def test_is_read_as_it_is_written(self) -> None:
        proof = [leaf_hash(b"a"), leaf_hash(b"b")]
        assert parse_proof(proof_text(7, proof, NOTE)) == (7, proof, NOTE)
        assert parse_proof(proof_text(0, [], NOTE)) == (0, [], NOTE)

    @pytest.mark.parametrize(
        "text",
        ["", NOTE, "c2sp.org/tlog-proof@v1\nindex x\n\n" + NOTE, "c2sp.org/tlog-proof@v1\n\n", "c2sp.org/tlog-proof@v1\nindex 1\n!\n\nx"],
    )
    def test_that_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(NoteInvalid):
            parse_proof(text)
