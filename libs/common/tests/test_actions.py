"""What becomes of an effect: states, pauses, and how troubles are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.actions.outcomes import RETRY_LIMIT, RETRY_LIMIT_SECONDS, Attempt, EffectState, next_state, retry_pause


class TestNextState:
    @pytest.mark.parametrize(
        ("attempt", "attempts", "state"),
        [
            (Attempt.ACCEPTED, 1, EffectState.CONFIRMED),
            (Attempt.REFUSED, 1, EffectState.FAILED),
            (Attempt.LOST, 1, EffectState.UNKNOWN),
            (Attempt.LOST, RETRY_LIMIT + 5, EffectState.UNKNOWN),
            (Attempt.NOT_SENT, 1, EffectState.PLANNED),
            (Attempt.NOT_SENT, RETRY_LIMIT - 1, EffectState.PLANNED),
            (Attempt.NOT_SENT, RETRY_LIMIT, EffectState.FAILED),
        ],
    )
    def test_follows_from_the_attempt(self, attempt: Attempt, attempts: int, state: EffectState) -> None:
        assert next_state(attempt, attempts) is state


class TestRetryPause:
    @given(st.integers(min_value=1, max_value=50), st.floats(min_value=0, max_value=1))
    def test_grows_and_stays_within_its_bounds(self, attempts: int, jitter: float) -> None:
        assert 0 < retry_pause(attempts, None, jitter) <= RETRY_LIMIT_SECONDS * 1.2
        assert retry_pause(attempts, None, 0) <= retry_pause(attempts + 1, None, 0)

    @pytest.mark.parametrize(("asked", "pause"), [(7.0, 7.0), (0.0, 0.0), (1e9, RETRY_LIMIT_SECONDS), (-5.0, 0.0)])
    def test_is_what_the_provider_asked_for_within_reason(self, asked: float, pause: float) -> None:
        assert retry_pause(3, asked, 0) == pause
