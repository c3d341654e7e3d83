"""``python -m services.audit``: serve, migrate, parked."""

import sys

from libs.common.main import main
from services.audit.app import build
from services.audit.settings import Settings

if __name__ == "__main__":
    sys.exit(main("audit", Settings, build))
