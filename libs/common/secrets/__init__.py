"""Per-practice secrets at rest: sealed in envelopes, opened for their practice and purpose only, re-wrapped under new keys."""

from libs.common.secrets.box import SecretBox
from libs.common.secrets.envelope import KeyUnknown, SealBroken
from libs.common.secrets.keys import KeyEncryption, KeyWrong, LocalKeys, key_from_hex

__all__ = ["KeyEncryption", "KeyUnknown", "KeyWrong", "LocalKeys", "SealBroken", "SecretBox", "key_from_hex"]
