"""``python -m services.practices``: serve, migrate, parked."""

import sys

from libs.common.main import main
from services.practices.app import build
from services.practices.settings import Settings

if __name__ == "__main__":
    sys.exit(main("practices", Settings, build))
