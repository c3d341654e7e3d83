"""How any service stands up: transaction, outbox, inbox, doors, telemetry. Knows no noun of the trade."""
