//! Requests that wait for Kafka's word (`ack=kafka`) about events that the disk loses meanwhile.

use super::super::log::storage::{OpenMode, write_full};
use super::*;
use crate::lifecycle::ReceiptWaiter;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

fn append(buffer: &Running, value: &str) -> ReceiptWaiter {
    let (reply, waiter) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let options = AppendOptions { deadline: Instant::now(), receipts: Some(reply) };
    let _ = runtime.block_on(buffer.appender.append(batch(&[value.to_owned()]), options)).unwrap();
    waiter
}

// Goal: a request that waits for Kafka's word about an event that rots on the disk is told that there will be none; the others wait on.
#[test]
fn nobody_waits_for_what_rotted() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(dir.path()));
    let mut buffer = open_on(&config(dir.path(), 4 << 20), Arc::<DiskStorage>::clone(&storage), Arc::default());
    let mut waiters = ["before", "rotten", "behind"].map(|value| append(&buffer, value));
    assert_eq!(buffer.read_all().len(), 3);
    let segments = std::fs::read_dir(dir.path()).unwrap().flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("seg-"));
    let (path, at) = segments
        .map(|entry| entry.path())
        .find_map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            let at = bytes.windows(6).position(|window| window == b"rotten")?;
            Some((path, at))
        })
        .unwrap();
    let file = storage.open(&path.file_name().unwrap().to_string_lossy(), OpenMode::ReadWrite).unwrap();
    write_full(&*file, b"R", at as u64).unwrap();
    // Kafka refused something: what was in memory is read again, from the disk.
    buffer.reader.rewind();
    assert_eq!(buffer.read_all().into_iter().map(|(seq, _)| seq).collect::<Vec<_>>(), [1, 3]);
    let ends = waiters.each_mut().map(|waiter| waiter.try_recv().unwrap_err());
    assert_eq!(ends, [TryRecvError::Empty, TryRecvError::Closed, TryRecvError::Empty]);
    buffer.close();
}
