"""Passwords: what is strong enough, and how they are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from libs.testing.simulators.supabase.refusals import Refusal, invalid
from libs.testing.simulators.supabase.settings import Settings


def judged(password: str, settings: Settings) -> None:
    """Raises 422 ``weak_password`` with every reason, 400 for what bcrypt could not take."""
    if len(password.encode()) > 72:
        raise invalid("Password cannot be longer than 72 characters")
    reasons = []
    messages = []
    if len(password) < settings.password_length:
        reasons.append("length")
        messages.append(f"Password should be at least {settings.password_length} characters.")
    if not all(set(group) & set(password) for group in settings.password_characters):
        reasons.append("characters")
        messages.append(f"Password should contain at least one character of each: {', '.join(settings.password_characters)}.")
    if reasons:
        raise Refusal(422, "weak_password", " ".join(messages), weak_password={"reasons": reasons})


def hashed(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{_digest(password, salt).hex()}"


def unguessable() -> str:
    """What an account has that was made without a password."""
    return hashed(secrets.token_urlsafe(48))


def matches(password: str, kept: str) -> bool:
    salt, _, digest = kept.partition(":")
    return hmac.compare_digest(_digest(password, bytes.fromhex(salt)), bytes.fromhex(digest))


def _digest(password: str, salt: bytes) -> bytes:
    # Cheap on purpose: tests sign in often, and nothing secret is kept here.
    return hashlib.scrypt(password.encode(), salt=salt, n=256, r=8, p=1)
