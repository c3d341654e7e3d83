"""The same system without containers: start, supervise, stop, describe."""
