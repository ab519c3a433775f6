"""Apache Kafka: topics in and out."""
