//! A Kafka client for the demo's consumers: without a group, and back as soon as Kafka is.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;

/// A client that reads nothing yet.
pub(super) fn client(brokers: &str) -> KafkaResult<BaseConsumer> {
    let settings = [
        ("bootstrap.servers", brokers),
        // librdkafka wants a name all the same; nothing is committed under it.
        ("group.id", "demo"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("enable.partition.eof", "true"),
        // The mock broker lets a fetch wait to the end, also when there is something to read before.
        ("fetch.wait.max.ms", "2"),
        ("fetch.error.backoff.ms", "20"),
        ("reconnect.backoff.ms", "20"),
        ("reconnect.backoff.max.ms", "200"),
    ];
    let mut config = ClientConfig::new();
    config.extend(settings.map(|(key, value)| (key.to_owned(), value.to_owned())));
    // Kafka goes away on purpose, and the relay tells how it sees it.
    let _ = config.set_log_level(RDKafkaLogLevel::Emerg);
    config.create()
}
