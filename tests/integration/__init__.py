"""Real Postgres, Debezium and Kafka, without providers."""
