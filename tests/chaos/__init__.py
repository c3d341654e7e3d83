"""Kill, pause, duplicate; then count."""
