"""Throughput and latency; never timed tests."""
