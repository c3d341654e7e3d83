"""The same system in containers: what the one-shot steps of docker-compose.yml run."""
