"""What Temporal recorded of runs, as it would find it after a deployment: replayed by the gate, recorded by ``record``."""
