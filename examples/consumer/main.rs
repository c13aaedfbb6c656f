//! A consumer that prints each event once, whatever is sent again and however often it is killed:
//!
//! ```console
//! $ cargo run --example consumer -- 127.0.0.1:9092 events state.txt
//! ```
//! It reads all partitions without a group. Where it was, and which events it knows, is one file that is replaced in one step after each batch of
//! output; a consumer with a database puts both into the transaction of its results instead (docs/consumers.md). What was printed after the
//! last state is printed again after a kill: only a sink that takes both together can prevent that.
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs, unreachable_pub, reason = "an example is a small program of its own")]

mod last_seen;

use last_seen::{LastSeen, Origin};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use std::{env, fs, io};

/// What survives: the next offset of each partition, and the marks of all relays.
#[derive(Default)]
struct State {
    next: BTreeMap<i32, i64>,
    seen: LastSeen,
}

impl State {
    fn load(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read?,
        };
        // A blank line stands between them.
        let (next, seen) = text.split_once("\n\n").ok_or("the state has no two parts")?;
        let place = |line: &str| {
            let (partition, offset) = line.split_once(' ')?;
            Some((partition.parse().ok()?, offset.parse().ok()?))
        };
        let next = next.lines().map(place).collect::<Option<_>>().ok_or("an offset is none")?;
        Ok(Self { next, seen: LastSeen::from_lines(seen).ok_or("a mark is none")? })
    }

    fn save(&self, path: &Path) -> io::Result<()> {
        let next: Vec<String> = self.next.iter().map(|(partition, offset)| format!("{partition} {offset}\n")).collect();
        let new = path.with_extension("new");
        fs::write(&new, format!("{}\n{}", next.concat(), self.seen.to_lines()))?;
        fs::File::open(&new)?.sync_all()?;
        fs::rename(new, path)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let (Some(brokers), Some(topic), Some(path)) = (words.next(), words.next(), words.next()) else {
        return Err("usage: consumer BROKERS TOPIC STATE-FILE".into());
    };
    let path = Path::new(&path);
    let mut state = State::load(path)?;
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &brokers).set("group.id", "unused").set("enable.auto.commit", "false").create()?;
    let metadata = consumer.fetch_metadata(Some(&topic), Duration::from_secs(30))?;
    let mut assignment = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(MetadataTopic::partitions) {
        let from = state.next.get(&partition.id()).map_or(Offset::Beginning, |offset| Offset::Offset(*offset));
        assignment.add_partition_offset(&topic, partition.id(), from)?;
    }
    consumer.assign(&assignment)?;
    loop {
        let mut moved = false;
        while let Some(message) = consumer.poll(Duration::from_millis(200)) {
            let message = message?;
            let header = message.headers().and_then(|headers| headers.iter().find(|header| header.key == "dualstream")?.value);
            // What no relay sent has no mark.
            let new = header.and_then(Origin::parse).is_none_or(|origin| state.seen.is_new(origin, message.partition()));
            if new {
                println!("{}", String::from_utf8_lossy(message.payload().unwrap_or_default()));
            }
            let _ = state.next.insert(message.partition(), message.offset() + 1);
            moved = true;
        }
        if moved {
            state.save(path)?;
        }
    }
}
