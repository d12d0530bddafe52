"""All that speaks to Flink: REST API, SQL Gateway, and the bytes of its savepoints."""
