"""The keys tokens are signed with: those of the environment, and those made by rotation since."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from libs.testing.simulators.supabase.refusals import Refusal
from libs.testing.simulators.supabase.settings import Settings
from libs.testing.simulators.supabase.store import Store

_ALGORITHMS = {"EC": "ES256", "RSA": "RS256", "OKP": "EdDSA", "oct": "HS256"}
_PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


class KeyRing:
    """With keys, HS256 tokens of the shared secret are refused; without any, the secret signs and nothing is published."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    @property
    def _keys(self) -> list[dict[str, Any]]:
        return [key for key in [*self._settings.jwt_keys, *self._store.keys] if key.get("kid") not in self._store.revoked]

    @property
    def signing(self) -> dict[str, Any] | None:
        """The newest by rotation, else the one of the environment that may sign. None: the shared secret signs."""
        return next((key for key in reversed(self._keys) if "sign" in key.get("key_ops", [])), None)

    def published(self) -> list[dict[str, Any]]:
        """Public halves only; a shared secret has none."""
        return [
            {
                **{name: value for name, value in key.items() if name not in _PRIVATE},
                "alg": _algorithm(key),
                "key_ops": ["verify"],
                "use": "sig",
            }
            for key in self._keys
            if key["kty"] != "oct"
        ]

    def sign(self, claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
        """Whatever the claims are. ``header`` overrides; null removes."""
        key = self.signing
        algorithm = _algorithm(key) if key else "HS256"
        fields = {"alg": algorithm, "kid": key.get("kid") if key else None, "typ": "JWT", **(header or {})}
        parts = [_encoded(json.dumps({n: v for n, v in fields.items() if v is not None}).encode()), _encoded(json.dumps(claims).encode())]
        material = jwt.PyJWK(key, algorithm).key if key else self._settings.jwt_secret.encode()
        return ".".join([*parts, _encoded(jwt.get_algorithm_by_name(algorithm).sign(".".join(parts).encode(), material))])

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token of ours. Raises 403 ``bad_jwt``."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm, material = self._material(header)
            options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_sub": False}
            claims: dict[str, Any] = jwt.decode(token, material, algorithms=[algorithm], options=options)
        except jwt.InvalidSignatureError as error:
            raise _bad("token signature is invalid: crypto/ecdsa: verification error") from error
        except jwt.InvalidAlgorithmError as error:
            raise _bad(f"token signature is invalid: signing method {header.get('alg')} is invalid") from error
        except jwt.InvalidTokenError as error:
            raise _bad("token is malformed: token contains an invalid number of segments") from error
        now = self._store.now().timestamp()
        if claims.get("exp") is not None and now >= claims["exp"]:
            raise _bad("token has invalid claims: token is expired")
        if claims.get("nbf") is not None and now < claims["nbf"]:
            raise _bad("token has invalid claims: token is not valid yet")
        return claims

    def _material(self, header: dict[str, Any]) -> tuple[str, Any]:
        if not self._keys:
            return "HS256", self._settings.jwt_secret.encode()
        if header.get("alg") not in {_algorithm(key) for key in self._keys}:
            raise jwt.InvalidAlgorithmError
        for key in self._keys:
            if key.get("kid") == header.get("kid"):
                found = jwt.PyJWK(key, _algorithm(key)).key
                return _algorithm(key), found.public_key() if hasattr(found, "public_key") else found
        kid = header.get("kid", "<nil>")
        raise _bad(f"token is unverifiable: error while executing keyfunc: unrecognized JWT kid {kid} for algorithm {header['alg']}")

    def rotate(self) -> str:
        """A new signing key; the old ones stay published. Its kid."""
        made = ec.generate_private_key(ec.SECP256R1())
        jwk: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(made, as_dict=True)
        kid = str(uuid4())
        self._store.keys.append({**jwk, "kid": kid, "alg": "ES256", "use": "sig", "key_ops": ["sign", "verify"]})
        self._store.save()
        return kid

    def revoke(self, kid: str) -> bool:
        """Neither published nor believed from now on; the signing key cannot be."""
        if kid not in {key.get("kid") for key in self._keys} or (self.signing or {}).get("kid") == kid:
            return False
        self._store.revoked.append(kid)
        self._store.save()
        return True


def _algorithm(key: dict[str, Any]) -> str:
    return str(key.get("alg") or _ALGORITHMS[key["kty"]])


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bad(why: str) -> Refusal:
    return Refusal(403, "bad_jwt", f"invalid JWT: unable to parse or verify signature, {why}")
