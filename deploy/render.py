"""Fills the ${NAMES} of the configuration files in deploy/. The same files serve the native system and containers.

Names it is not given stay as they are: Debezium's own ``${routedByValue}`` and ``${env:...}`` pass through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
_NAME = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


def render(template: str, values: Mapping[str, str]) -> str:
    """The file ``deploy/<template>`` with its names filled. Raises ``KeyError`` naming one that is missing."""
    return _NAME.sub(lambda match: values[match[1]], (DEPLOY / template).read_text())


def write(template: str, values: Mapping[str, str], target: Path) -> Path:
    """Render into ``target``; the file is replaced at once, never half written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(target.suffix + ".new")
    fresh.write_text(render(template, values))
    fresh.replace(target)
    return target
