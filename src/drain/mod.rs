//! Stage 3: events go to Kafka.
