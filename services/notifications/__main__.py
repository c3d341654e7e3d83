"""``python -m services.notifications``: serve, migrate, parked, secrets."""

import sys

from libs.common.main import main
from services.notifications.app import build
from services.notifications.settings import Settings

if __name__ == "__main__":
    sys.exit(main("notifications", Settings, build))
