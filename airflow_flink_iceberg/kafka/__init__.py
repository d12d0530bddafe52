"""Everything that speaks to Kafka: only questions, and only with the extra ``kafka``."""
