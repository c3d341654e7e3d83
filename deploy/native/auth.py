"""What Supabase Auth and the house agree on: who issues tokens, for whom, and the secrets both know."""

from __future__ import annotations

import base64
import json
import secrets
import time
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER = "https://auth.vantage.example/auth/v1"
AUDIENCE = "authenticated"
SERVICE_KEY_SECONDS = 10 * 365 * 86_400


def new_auth_secrets() -> dict[str, str]:
    """A signing key (ES256), the service role's token signed with it, and the hooks' secret. They belong together."""
    key = ec.generate_private_key(ec.SECP256R1())
    kid = str(uuid.uuid4())
    private: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True)
    published = {**private, "kid": kid, "alg": "ES256", "use": "sig", "key_ops": ["sign", "verify"]}
    now = int(time.time())
    claims = {"role": "service_role", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + SERVICE_KEY_SECONDS}
    return {
        "auth_jwt_keys": json.dumps([published], separators=(",", ":")),
        "auth_service_key": jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid}),
        "hook_secrets": f"v1,whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
    }
