"""``python -m services.patients``: serve, migrate, parked."""

import sys

from libs.common.main import main
from services.patients.app import build
from services.patients.settings import Settings

if __name__ == "__main__":
    sys.exit(main("patients", Settings, build))
