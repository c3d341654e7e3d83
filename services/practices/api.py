"""The HTTP door of practices and users."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from libs.common.auth import Role
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page
from libs.common.ids import new_id
from libs.contracts.envelope import PLATFORM
from services.practices.commands import (
    AddUser,
    ChangeUser,
    CreatedPractice,
    CreatePractice,
    ListedPractice,
    Me,
    PracticeView,
    UserView,
    add_user,
    change_user,
    create_practice,
    show_practice,
    who_am_i,
)
from services.practices.queries import members, practices_listed


def practice_routes() -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["practices"])

    @router.post("/practices", status_code=201, response_model=CreatedPractice)
    async def create(cmd: CreatePractice, door: DoorDep) -> Response:
        """Create a practice with its first admin. Vantage admins only."""
        door.require(Role.VANTAGE_ADMIN)
        practice_id = new_id()
        async with door.work(practice_id) as tx:
            view = await create_practice(practice_id, cmd, tx)
            return await door.answer(tx, view, status=201, headers={"Location": f"/v1/practices/{view.id}"})

    @router.get("/practices", response_model=Page[ListedPractice])
    async def list_practices(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[ListedPractice]:
        """List practices. Vantage admins only; names and dates, nothing of their people."""
        door.require(Role.VANTAGE_ADMIN)
        async with door.work(PLATFORM) as tx:
            entries = [ListedPractice.of(entry) for entry in await practices_listed(tx, after=door.position(cursor), limit=limit)]
            return door.page(entries, limit, lambda entry: (entry.created_at.isoformat(), entry.id))

    @router.get("/practices/{practice_id}", response_model=PracticeView)
    async def show(practice_id: UUID, door: DoorDep) -> Response:
        """Show the caller's own practice."""
        async with door.work() as tx:
            return await door.answer(tx, await show_practice(practice_id, tx))

    return router


def user_routes() -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["users"])

    @router.post("/users", status_code=201, response_model=UserView)
    async def add(cmd: AddUser, door: DoorDep) -> Response:
        """Add a user to the practice. Practice admins only."""
        door.require(Role.PRACTICE_ADMIN)
        async with door.work() as tx:
            view = await add_user(cmd, tx)
            return await door.answer(tx, view, status=201)

    @router.get("/users", response_model=Page[UserView])
    async def list_users(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[UserView]:
        """List the practice's users by e-mail."""
        async with door.work() as tx:
            views = [UserView.of(member) for member in await members(tx, after=door.position(cursor), limit=limit)]
            return door.page(views, limit, lambda view: (view.email,))

    @router.patch("/users/{user_id}", response_model=UserView)
    async def change(user_id: UUID, cmd: ChangeUser, door: DoorDep) -> Response:
        """Change a user's role, or deactivate them. Practice admins only."""
        door.require(Role.PRACTICE_ADMIN)
        async with door.work() as tx:
            return await door.answer(tx, await change_user(user_id, cmd, tx))

    @router.get("/me", response_model=Me)
    async def me(door: DoorDep) -> Response:
        """Who the caller is."""
        role = door.principal.role or ""
        async with door.work(None if door.principal.practice_id else PLATFORM) as tx:
            if door.principal.practice_id is None:
                return await door.answer(tx, Me(role=role, practice=None, user=None))
            return await door.answer(tx, await who_am_i(door.principal.id, role, tx))

    return router
