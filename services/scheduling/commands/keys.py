"""What a provider's API key looks like to whoever types it in."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

_KEY = re.compile(r"[!-~]{16,200}")


def _key(key: SecretStr) -> SecretStr:
    if not _KEY.fullmatch(key.get_secret_value()):
        message = "a key is 16 to 200 printable characters without blanks"
        raise ValueError(message)
    return key


Key = Annotated[SecretStr, AfterValidator(_key)]
