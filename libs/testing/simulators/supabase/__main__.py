"""``python -m libs.testing.simulators.supabase --port N --state DIR``; configured by the variables of the real image."""

from __future__ import annotations

import os

from libs.testing.simulators.control import main
from libs.testing.simulators.supabase.server import SupabaseSimulator
from libs.testing.simulators.supabase.settings import Settings

if __name__ == "__main__":
    main(lambda state: SupabaseSimulator(state, Settings.read(os.environ)).app())
