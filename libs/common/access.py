"""Letting somebody in: verified claims against what this service knows of members, practices and entries.

Each service keeps its own projection, fed by the events of ``libs.contracts.access``: nobody asks another service, and a
token says who somebody is, never what they may. A decision is remembered for five seconds, and forgotten at once when
news arrives in this process; so a deactivation, a suspension or the end of an entry counts everywhere within seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from weakref import WeakSet

from libs.common.auth import Permission, Principal, Role
from libs.common.clock import monotonic
from libs.common.errors import Forbidden, Unauthenticated
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.parking import release_held
from libs.common.messaging.received import Received
from libs.common.tokens import HOUSE_ISSUER, Claims, TokenRefused
from libs.common.work import Tx, Work
from libs.contracts.access import EntryChanged, MemberAccessChanged, PracticeAccessChanged
from libs.contracts.envelope import PLATFORM, Message
from libs.contracts.permissions import ENTERED, GRANTS, SCOPES

REMEMBERED_SECONDS = 5.0
REMEMBERED = 20_000
EVENTS: tuple[type[Message], ...] = (MemberAccessChanged, PracticeAccessChanged, EntryChanged)

_LOOK = """
SELECT p.suspended, coalesce(p.origins, '{}') AS origins, m.user_id, m.role, m.active, e.id AS entry_id, e.expires_at
FROM (SELECT $1::uuid AS practice_id, $2::uuid AS home, $3::text AS identity) c
LEFT JOIN access_practice p ON p.practice_id = c.practice_id
LEFT JOIN access_member m ON m.practice_id = c.home AND m.identity = c.identity
LEFT JOIN LATERAL (
  SELECT id, expires_at FROM access_entry e WHERE e.practice_id = c.practice_id AND e.identity = c.identity ORDER BY expires_at DESC LIMIT 1
) e ON true
"""
_MEMBER = """
INSERT INTO access_member (practice_id, identity, user_id, role, active, version) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (practice_id, identity) DO UPDATE SET user_id = excluded.user_id, role = excluded.role, active = excluded.active,
  version = excluded.version WHERE access_member.version < excluded.version OR access_member.user_id <> excluded.user_id
"""
_PRACTICE = """
INSERT INTO access_practice (practice_id, suspended, origins, version) VALUES ($1, $2, $3, $4)
ON CONFLICT (practice_id) DO UPDATE SET suspended = excluded.suspended, origins = excluded.origins, version = excluded.version
WHERE access_practice.version < excluded.version
"""
_ENTRY = """
INSERT INTO access_entry (practice_id, id, identity, expires_at, version) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (practice_id, id) DO UPDATE SET expires_at = excluded.expires_at, version = excluded.version
WHERE access_entry.version < excluded.version
"""
_ORIGIN = "SELECT true FROM access_practice WHERE origins @> ARRAY[$1::text] LIMIT 1"


class NotAMember(Forbidden):
    """You do not belong to this practice."""

    code = "not_a_member"


class AccessEnded(Unauthenticated):
    """Your access has ended."""


class PracticeIsSuspended(Forbidden):
    """This practice is suspended."""


class EntryNeeded(Forbidden):
    """A Vantage admin acts inside a practice only through an open entry."""


@dataclass(frozen=True)
class Admitted:
    """Somebody who may come in. ``origins``: web origins whose pages may call for them."""

    principal: Principal
    origins: frozenset[str]


class Access:
    """The doorkeeper of one service."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._remembered: dict[tuple[UUID, UUID, str], tuple[float, Any]] = {}
        self._known_origins: dict[str, tuple[float, bool]] = {}
        self._suspended: dict[UUID, tuple[float, bool]] = {}
        _doorkeepers.add(self)

    def forget(self) -> None:
        """News arrived: look again."""
        self._remembered.clear()
        self._known_origins.clear()
        self._suspended.clear()

    async def admit(self, claims: Claims, enters: UUID | None) -> Admitted:
        """The principal behind verified claims. ``enters``: the practice a Vantage admin asks to act in.

        Raises ``NotAMember``, ``AccessEnded``, ``PracticeIsSuspended`` or ``TokenRefused``.
        """
        home = _home_of(claims)
        identity = claims["sub"]
        if claims["iss"] == HOUSE_ISSUER:
            return await self._key(claims, home)
        if claims.get("role") != "authenticated" or claims.get("is_anonymous", False):
            raise TokenRefused
        seen = await self._seen(enters or home, home, identity)
        if seen["user_id"] is None:
            raise NotAMember
        if not seen["active"]:
            raise AccessEnded
        role = Role(seen["role"])
        if (role is Role.VANTAGE_ADMIN) != (home == PLATFORM):
            raise NotAMember
        if role is not Role.VANTAGE_ADMIN:
            if enters is not None and enters != home:
                raise NotAMember
            if seen["suspended"]:
                raise PracticeIsSuspended
            return Admitted(Principal("user", str(seen["user_id"]), role, home, GRANTS[role]), frozenset(seen["origins"]))
        if enters is None:
            return Admitted(Principal("user", str(seen["user_id"]), role, None, GRANTS[role]), frozenset())
        if seen["entry_id"] is None or seen["expires_at"] <= self._work.now():
            # Known, but not let in: the door refuses whatever they ask, and says so in the practice's log.
            return Admitted(Principal("user", str(seen["user_id"]), role, enters), frozenset(seen["origins"]))
        return Admitted(Principal("user", str(seen["user_id"]), role, enters, ENTERED, seen["entry_id"]), frozenset(seen["origins"]))

    async def _key(self, claims: Claims, home: UUID) -> Admitted:
        """An API key, verified by practices a moment ago: the gateway's token says which scopes it has."""
        seen = await self._seen(home, home, claims["sub"])
        if seen["suspended"]:
            raise PracticeIsSuspended
        scopes = SCOPES & {Permission(scope) for scope in claims["scopes"]} | {Permission.ME_READ}
        return Admitted(Principal("key", claims["sub"], None, home, scopes), frozenset(seen["origins"]))

    async def _seen(self, practice_id: UUID, home: UUID, identity: str) -> Any:
        key = practice_id, home, identity
        until, row = self._remembered.get(key, (0.0, None))
        if monotonic() < until:
            return row
        async with self._work.batch([practice_id, home], Principal.system("access")) as tx:
            row = await tx.row(_LOOK, practice_id, home, identity)
        assert row is not None
        if row["user_id"] is not None or row["suspended"] is not None:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = (monotonic() + REMEMBERED_SECONDS, row)
        return row

    async def suspended(self, practice_ids: Iterable[UUID], tx: Tx) -> frozenset[UUID]:
        """Which of these practices are suspended; for whoever works in the background. Remembered like everything here."""
        wanted = set(practice_ids)
        now = monotonic()
        asked = [one for one in wanted if self._suspended.get(one, (0.0, False))[0] <= now]
        if asked:
            rows = await tx.rows("SELECT practice_id FROM access_practice WHERE suspended AND practice_id = ANY($1::uuid[])", asked)
            found = {row["practice_id"] for row in rows}
            if len(self._suspended) >= REMEMBERED:
                self._suspended.clear()
            self._suspended |= {one: (now + REMEMBERED_SECONDS, one in found) for one in asked}
        return frozenset(one for one in wanted if self._suspended[one][1])

    async def origin_known(self, origin: str) -> bool:
        """Whether pages of any practice call from this web origin: what a preflight may be told, which names nobody."""
        until, known = self._known_origins.get(origin, (0.0, False))
        if monotonic() >= until:
            async with self._work.batch([], Principal.platform("access")) as tx:
                known = await tx.value(_ORIGIN, origin) is True
            if len(self._known_origins) >= REMEMBERED:
                self._known_origins.clear()
            self._known_origins[origin] = (monotonic() + REMEMBERED_SECONDS, known)
        return known


def _home_of(claims: Claims) -> UUID:
    """The practice the token names; the platform for none."""
    try:
        return UUID(claims["practice_id"]) if claims.get("practice_id") else PLATFORM
    except (ValueError, TypeError, AttributeError):
        raise TokenRefused from None


_doorkeepers: WeakSet[Access] = WeakSet()


def _look_again() -> None:
    """Every doorkeeper of this process forgets what it decided."""
    for access in _doorkeepers:
        access.forget()


def follow_access(consumer: Consumer) -> None:
    """Keep the projection of a service that has handlers of its own."""

    @consumer.on_batch(*EVENTS)
    async def access_changed(events: list[Received[Any]], tx: Tx) -> None:
        await take_access([(event.practice_id, event.data) for event in events], tx)
        for event in events:
            if isinstance(event.data, PracticeAccessChanged) and not event.data.suspended:
                await release_held(event.practice_id, tx)


async def take_access(news: Sequence[tuple[UUID, Message]], tx: Tx) -> None:
    """Write access news into the projection; doors look again after the commit. What is older than what is known changes nothing."""
    if news:
        tx.after_commit(_look_again)
    for practice_id, data in news:
        if isinstance(data, MemberAccessChanged):
            await tx.execute(_MEMBER, practice_id, data.identity, data.user_id, data.role, data.active, data.version)
        elif isinstance(data, PracticeAccessChanged):
            await tx.execute(_PRACTICE, practice_id, data.suspended, data.origins, data.version)
        elif isinstance(data, EntryChanged):
            await tx.execute(_ENTRY, practice_id, data.entry_id, data.identity, data.expires_at, data.version)
