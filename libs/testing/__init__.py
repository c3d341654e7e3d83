"""What keeps tests honest: real Postgres, real broker, probes, provider simulators. Imported by tests only."""
