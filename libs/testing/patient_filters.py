"""What filters over patients mean, as a table: whoever finds patients by blocks finds these, in SQL or otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any


@dataclass(frozen=True)
class Person:
    """Somebody to look for; told apart by the given name."""

    given_name: str
    family_name: str
    email: str | None = None
    phone: str | None = None
    birth_date: date | None = None
    time_zone: str | None = None
    tags: list[str] = field(default_factory=list)


PEOPLE = (
    Person("Mira", "Holm", "mira.holm@mail.example", "+493055500123", date(1987, 4, 12), "Europe/Berlin", ["Braces", "Recall"]),
    Person("Jürgen", "Groß", "j.gross@mail.example", None, date(1990, 12, 1), None, ["Recall"]),
    Person("Ada", "GROẞ-Lund", None, "+4791234567", None, "Europe/Oslo", ["recall call"]),
    Person("Roſe", "O'Neill", "rose@clinic.example", None, date(1887, 1, 1)),
    Person("Per", "100% [x]_\\ $^", None, None, None, None, ["100%", "it's"]),
    Person("Σοφία", "ΠΑΠΠΆΣ", "sophia@mail.example", "+302101234567"),
)
NOBODY: frozenset[str] = frozenset()
EVERYBODY = frozenset(person.given_name for person in PEOPLE)


def block(name: str, operator: str, value: Any = None, *, ignore_case: bool = False) -> dict[str, Any]:
    written: dict[str, Any] = {"field": f"patient.{name}", "operator": operator}
    return written | ({} if value is None else {"value": value}) | ({"ignore_case": True} if ignore_case else {})


def whole(*members: dict[str, Any]) -> dict[str, Any]:
    """All of them, as a condition."""
    return {"blocks": {"all": list(members)}}


def _found(written: dict[str, Any], *names: str) -> tuple[dict[str, Any], frozenset[str]]:
    return (written if "blocks" in written else whole(written)), frozenset(names)


def _but(written: dict[str, Any], *names: str) -> tuple[dict[str, Any], frozenset[str]]:
    condition, found = _found(written, *names)
    return condition, EVERYBODY - found


CASES: tuple[tuple[dict[str, Any], frozenset[str]], ...] = (
    _found(block("given_name", "equals", "Mira"), "Mira"),
    _found(block("given_name", "equals", "mira")),
    _found(block("given_name", "equals", "MIRA", ignore_case=True), "Mira"),
    _found(block("given_name", "equals", "rose", ignore_case=True), "Roſe"),
    _found(block("given_name", "equals", "σοφία", ignore_case=True), "Σοφία"),
    _found(block("family_name", "equals", "παππάσ", ignore_case=True), "Σοφία"),
    _found(block("family_name", "contains", "groß", ignore_case=True), "Jürgen", "Ada"),
    _found(block("family_name", "contains", "gross", ignore_case=True)),
    _but(block("family_name", "not_contains", "groß", ignore_case=True), "Jürgen", "Ada"),
    _found(block("family_name", "starts_with", "GROẞ"), "Ada"),
    _found(block("family_name", "starts_with", "o'n", ignore_case=True), "Roſe"),
    _found(block("family_name", "ends_with", "lund", ignore_case=True), "Ada"),
    _found(block("family_name", "ends_with", "ß"), "Jürgen"),
    _found(block("family_name", "contains", "%"), "Per"),
    _found(block("family_name", "contains", "_"), "Per"),
    _found(block("family_name", "contains", "\\"), "Per"),
    _found(block("family_name", "contains", "100% [X]_\\ $^", ignore_case=True), "Per"),
    _found(block("family_name", "contains", ".", ignore_case=True)),
    _found(block("family_name", "contains", ".*")),
    _but(block("given_name", "contains", "")),
    _but(block("given_name", "starts_with", "", ignore_case=True)),
    _found(block("email", "contains", ""), "Mira", "Jürgen", "Roſe", "Σοφία"),
    _found(block("email", "ends_with", "@mail.example"), "Mira", "Jürgen", "Σοφία"),
    _found(block("email", "is_empty"), "Ada", "Per"),
    _but(block("email", "is_not_empty"), "Ada", "Per"),
    _but(block("email", "not_equals", "rose@clinic.example"), "Roſe"),
    _but(block("email", "not_contains", "mail"), "Mira", "Jürgen", "Σοφία"),
    _found(block("email", "one_of", ["rose@clinic.example", "nobody@mail.example"]), "Roſe"),
    _but(block("email", "not_one_of", ["rose@clinic.example", "mira.holm@mail.example"]), "Roſe", "Mira"),
    _found(block("email", "one_of", ["ROSE@clinic.example", "J.Gross@MAIL.example"], ignore_case=True), "Roſe", "Jürgen"),
    _found(block("phone", "starts_with", "+49"), "Mira"),
    _found(block("phone", "equals", "+4791234567", ignore_case=True), "Ada"),
    _found(block("birth_date", "equals", "1987-04-12"), "Mira"),
    _found(block("birth_date", "starts_with", "1990-12"), "Jürgen"),
    _found(block("birth_date", "contains", "-01-"), "Roſe"),
    _found(block("birth_date", "is_empty"), "Ada", "Per", "Σοφία"),
    _but(block("birth_date", "not_equals", "1887-01-01"), "Roſe"),
    _found(block("birth_date", "before", "1987-04-12"), "Roſe"),
    _found(block("birth_date", "before", "1987-04-13"), "Mira", "Roſe"),
    _found(block("birth_date", "after", "1987-04-12"), "Jürgen"),
    _found(whole(block("birth_date", "after", "1986-12-31"), block("birth_date", "before", "1991-01-01")), "Mira", "Jürgen"),
    _found(block("time_zone", "one_of", ["Europe/Berlin", "Europe/Oslo"]), "Mira", "Ada"),
    _but(block("id", "is_not_empty")),
    _found(block("id", "equals", "0198a1b2-0011-7000-8000-000000000011")),
    _found(block("tags", "contains", "Recall"), "Mira", "Jürgen"),
    _found(block("tags", "contains", "recall")),
    _but(block("tags", "not_contains", "Recall"), "Mira", "Jürgen"),
    _found(block("tags", "contains_any", ["Braces", "100%"]), "Mira", "Per"),
    _found(block("tags", "contains_all", ["Braces", "Recall"]), "Mira"),
    _found(block("tags", "contains", "it's"), "Per"),
    _found(block("tags", "is_empty"), "Roſe", "Σοφία"),
    _but(block("tags", "is_not_empty"), "Roſe", "Σοφία"),
    _found(whole(block("tags", "contains", "Recall"), block("email", "contains", "gross")), "Jürgen"),
    _found({"blocks": {"any": [block("given_name", "equals", "Per"), block("phone", "starts_with", "+30")]}}, "Per", "Σοφία"),
    _found(
        whole(
            {"any": [block("tags", "contains", "Recall"), {"all": [block("tags", "is_empty"), block("birth_date", "is_not_empty")]}]},
            {"any": [block("email", "contains", "clinic"), block("time_zone", "equals", "Europe/Berlin")]},
        ),
        "Mira", "Roſe",
    ),
    _found({"blocks": {"any": [whole(block("email", "is_empty"))["blocks"], {"any": [block("email", "is_empty")]}]}}, "Ada", "Per"),
)  # fmt: skip
"""A condition, and the given names of the people it finds."""
