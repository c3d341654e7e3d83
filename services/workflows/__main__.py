"""``python -m services.workflows``: serve, migrate, parked."""

import sys

from libs.common.main import main
from services.workflows.app import build
from services.workflows.settings import Settings

if __name__ == "__main__":
    sys.exit(main("workflows", Settings, build))
