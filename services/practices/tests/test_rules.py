"""What a practice and its users may be."""

from __future__ import annotations

import pytest

from services.practices.rules.people import known_time_zone, leaves_no_admin, normal_email

AT = "@"


class TestTimeZone:
    @pytest.mark.parametrize("name", ["Europe/Berlin", "America/Argentina/Ushuaia", "UTC"])
    def test_is_an_iana_name(self, name: str) -> None:
        assert known_time_zone(name) == name

    @pytest.mark.parametrize("name", ["", "Berlin", "europe/berlin", "CET+1", "../../etc/passwd", "Europe/Berlin\n"])
    def test_refuses_anything_else(self, name: str) -> None:
        with pytest.raises(ValueError, match="IANA time zone"):
            known_time_zone(name)


class TestEmail:
    def test_is_kept_in_lower_case(self) -> None:
        assert normal_email("Jonas.Falk@Lindenhof.example") == "jonas.falk@lindenhof.example"

    @pytest.mark.parametrize(
        "typed", ["", "jonas", f"jonas{AT}", "jonas@lindenhof.example\n", "a b@lindenhof.example", "<x@lindenhof.example>"]
    )
    def test_refuses_what_cannot_be_one(self, typed: str) -> None:
        with pytest.raises(ValueError, match="not an e-mail address"):
            normal_email(typed)


class TestLeavesNoAdmin:
    @pytest.mark.parametrize(
        ("active_admins", "was_admin", "stays_admin", "leaves_none"),
        [(1, True, False, True), (2, True, False, False), (1, True, True, False), (1, False, False, False)],
    )
    def test_only_when_the_last_one_goes(self, active_admins: int, was_admin: bool, stays_admin: bool, leaves_none: bool) -> None:
        assert leaves_no_admin(active_admins, was_admin=was_admin, stays_admin=stays_admin) is leaves_none
