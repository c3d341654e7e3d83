"""Lines keep their order; all take turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libs.common.turns import Turns


def turns(*things: str) -> Turns[str]:
    """Things whose first letter is their line."""
    made: Turns[str] = Turns()
    for thing in things:
        made.put(thing[0], thing)
    return made


class TestTake:
    def test_one_line_alone_is_taken_as_it_is(self) -> None:
        assert turns("a1", "a2", "a3").take(2, share=1) == ["a1", "a2"]

    def test_each_line_has_its_share_and_who_was_served_waits_behind_the_others(self) -> None:
        some = turns("a1", "a2", "a3", "a4", "b1", "c1", "c2", "c3")
        assert some.take(10, share=2) == ["a1", "a2", "b1", "c1", "c2"]
        assert some.take(3, share=2) == ["a3", "a4", "c3"]
        assert (len(some), some.lines) == (0, 0)

    def test_a_newcomer_waits_for_one_turn_of_the_others(self) -> None:
        some = turns(*(f"a{n}" for n in range(100)))
        some.take(10, share=5)
        some.put("b", "b1")
        assert "b1" in some.take(10, share=5)

    @given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers())), st.integers(1, 7), st.integers(1, 3))
    def test_nothing_is_lost_and_no_line_is_out_of_order(self, things: list[tuple[str, int]], most: int, share: int) -> None:
        some: Turns[tuple[str, int]] = Turns()
        for thing in things:
            some.put(thing[0], thing)
        taken: list[tuple[str, int]] = []
        while len(some):
            batch = some.take(most, share)
            assert 0 < len(batch) <= most
            taken += batch
        for line in "abcd":
            assert [thing for thing in taken if thing[0] == line] == [thing for thing in things if thing[0] == line]


class TestPutBack:
    def test_comes_first_again(self) -> None:
        some = turns("b1", "a1", "a2")
        taken = some.take(2, share=1)
        for thing in reversed(taken):
            some.put_back(thing[0], thing)
        assert some.take(9, share=9) == ["b1", "a1", "a2"]


class TestDrop:
    def test_leaves_the_others_in_order(self) -> None:
        some = turns("a1", "a2", "b2", "a3")
        some.drop(lambda thing: thing.endswith("2"))
        assert (len(some), some.take(9, share=9)) == (2, ["a1", "a3"])
