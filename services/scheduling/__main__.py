"""``python -m services.scheduling``: serve, migrate, parked, secrets."""

import sys

from libs.common.main import main
from services.scheduling.app import build
from services.scheduling.settings import Settings

if __name__ == "__main__":
    sys.exit(main("scheduling", Settings, build))
