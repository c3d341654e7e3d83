"""The journeys, through the gateway, on the running system."""
