"""The tree of RFC 6962: known roots, and proofs that hold for what is there and for nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.rules.merkle import (
    EMPTY_ROOT,
    ProofInvalid,
    append,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    pack,
    root_of,
    root_of_leaves,
    unpack,
    verify_consistency,
    verify_inclusion,
)

# The inputs and roots of the reference implementations of Certificate Transparency.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in INPUTS]
SIZES = st.integers(min_value=1, max_value=40)


def tree(size: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(size)]


class TestRoot:
    @pytest.mark.parametrize("size", range(1, 9))
    def test_is_the_known_one(self, size: int) -> None:
        assert root_of_leaves(LEAVES[:size]).hex() == ROOTS[size - 1]

    def test_of_nothing_is_the_hash_of_nothing(self) -> None:
        assert root_of([]) == EMPTY_ROOT

    @given(SIZES, st.lists(st.integers(min_value=0, max_value=10), max_size=6))
    def test_does_not_depend_on_how_the_leaves_came(self, size: int, cuts: list[int]) -> None:
        leaves, reached = tree(size), 0
        frontier: list[bytes] = []
        for cut in [*cuts, size]:
            taken = leaves[reached : min(size, reached + cut)]
            frontier, reached = append(frontier, reached, taken)
        assert (reached, root_of(frontier)) == (size, root_of_leaves(leaves))
        assert unpack(pack(frontier)) == frontier
        assert len(frontier) == size.bit_count()


class TestInclusion:
    @given(st.data())
    def test_holds_for_every_leaf(self, data: st.DataObject) -> None:
        size = data.draw(SIZES)
        index = data.draw(st.integers(min_value=0, max_value=size - 1))
        leaves = tree(size)
        verify_inclusion(leaves[index], index, size, inclusion_proof(leaves, index), root_of_leaves(leaves))

    @given(st.data())
    def test_holds_for_nothing_else(self, data: st.DataObject) -> None:
        size = data.draw(st.integers(min_value=2, max_value=40))
        index = data.draw(st.integers(min_value=0, max_value=size - 1))
        leaves = tree(size)
        root, proof = root_of_leaves(leaves), inclusion_proof(leaves, index)
        broken: list[tuple[bytes, int, int, list[bytes], bytes]] = [
            (leaf_hash(b"forged"), index, size, proof, root),
            (leaves[index], (index + 1) % size, size, proof, root),
            (leaves[index], size, size, proof, root),
            (leaves[index], -1, size, proof, root),
            (leaves[index], index, size, [*proof, root], root),
            (leaves[index], index, size, proof[:-1], root),
            (leaves[index], index, size, [leaf_hash(b"forged"), *proof[1:]], root),
            (leaves[index], index, size, proof, leaf_hash(b"forged")),
        ]
        for claim in broken:
            with pytest.raises(ProofInvalid):
                verify_inclusion(*claim)

    @pytest.mark.parametrize("index", [-1, 8, 100])
    def test_of_a_leaf_that_is_not_there_cannot_be_asked(self, index: int) -> None:
        with pytest.raises(IndexError):
            inclusion_proof(LEAVES, index)


class TestConsistency:
    @given(st.data())
    def test_holds_for_every_earlier_size(self, data: st.DataObject) -> None:
        new = data.draw(SIZES)
        old = data.draw(st.integers(min_value=1, max_value=new))
        leaves = tree(new)
        verify_consistency(old, new, root_of_leaves(leaves[:old]), root_of_leaves(leaves), consistency_proof(leaves, old))

    @given(st.data())
    def test_does_not_hold_when_the_past_was_changed(self, data: st.DataObject) -> None:
        new = data.draw(st.integers(min_value=2, max_value=40))
        old = data.draw(st.integers(min_value=1, max_value=new - 1))
        changed = data.draw(st.integers(min_value=0, max_value=old - 1))
        leaves = tree(new)
        rewritten = [*leaves[:changed], leaf_hash(b"forged"), *leaves[changed + 1 :]]
        with pytest.raises(ProofInvalid):
            verify_consistency(old, new, root_of_leaves(leaves[:old]), root_of_leaves(rewritten), consistency_proof(rewritten, old))

    @pytest.mark.parametrize(("old", "new"), [(0, 8), (9, 8), (3, 8)])
    def test_needs_sizes_and_a_proof_that_fit(self, old: int, new: int) -> None:
        with pytest.raises(ProofInvalid):
            verify_consistency(old, new, LEAVES[0], root_of_leaves(LEAVES), [])

    def test_of_one_size_with_two_roots_is_a_fork(self) -> None:
        verify_consistency(8, 8, LEAVES[0], LEAVES[0], [])
        with pytest.raises(ProofInvalid, match="two roots"):
            verify_consistency(8, 8, LEAVES[0], LEAVES[1], [])

    @pytest.mark.parametrize("old", [0, 9])
    def test_with_a_size_that_never_was_cannot_be_asked(self, old: int) -> None:
        with pytest.raises(IndexError):
            consistency_proof(LEAVES, old)
