//! A server under test as a child process: its settings, its life, its memory.

use super::super::http_client::{Client, Endpoint};
use super::super::look::Look;
use super::super::status::{get, parse};
use super::super::target::block_on;
use super::error::BenchError;
use super::load::Door;
use super::plan::Plan;
use super::server::{Kind, Listening};
use crate::config::units::show_size;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Kafka that nobody answers for: a port of the system's that no broker uses.
pub(super) const NO_KAFKA: &str = "127.0.0.1:1";
/// What a socket's address holds, its end included, is 108 bytes.
const LONGEST_SOCKET_PATH: usize = 107;
/// A relay that is told to end gets this long.
const END_WITHIN: Duration = Duration::from_secs(10);
/// Asking for the status.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// What the relay under test is to do.
#[derive(Clone, Debug)]
pub(super) struct Settings<'a> {
    /// Its buffer's directory.
    pub(super) buffer: &'a Path,
    pub(super) max_bytes: u64,
    pub(super) brokers: &'a str,
    pub(super) topic: &'a str,
    pub(super) redis_url: Option<&'a str>,
}

/// This program as a child that is under test. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Ends the child when it is closed.
    stdin: Option<ChildStdin>,
    /// Where it may listen; a child that is killed leaves it.
    socket: PathBuf,
}

impl Process {
    /// Starts a child; also returns the line with which it says that it is ready.
    pub(super) fn start(kind: Kind, plan: &Plan, settings: &Settings<'_>) -> Result<(Self, String), BenchError> {
        let (socket, file) = (socket_path(&plan.dir), plan.path("server.toml"));
        // Left by an earlier one that was killed.
        drop(fs::remove_file(&socket));
        fs::write(&file, settings.toml(&socket)).map_err(BenchError::io(format!("write {}", file.display())))?;
        let program = std::env::current_exe().map_err(BenchError::io("find this program"))?;
        let kind = match kind {
            Kind::Bare => "bare",
            Kind::Relay => "relay",
            Kind::Open => "open",
        };
        let mut command = Command::new(program);
        let _ = command.args(["bench", "--internal-server", kind, "--internal-config"]).arg(&file);
        let _ = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(BenchError::io("start the server under test"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let process = Self { child, stdin, socket };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            let _ = BufReader::new(stdout).read_line(&mut line).map_err(BenchError::io("read from the server under test"))?;
        }
        Ok((process, line))
    }

    /// Lets it end by itself, its buffer closed in order.
    pub(super) fn end(mut self) -> Result<(), BenchError> {
        drop(self.stdin.take());
        let deadline = Instant::now() + END_WITHIN;
        while self.child.try_wait().map_err(BenchError::io("wait for the server under test"))?.is_none() {
            if Instant::now() >= deadline {
                return Err(BenchError::Late { what: "the end of the server under test", after: END_WITHIN });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_file(&self.socket));
    }
}

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Server {
    process: Process,
    listening: Listening,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub(super) fn start(kind: Kind, plan: &Plan, settings: &Settings<'_>) -> Result<Self, BenchError> {
        let (process, line) = Process::start(kind, plan, settings)?;
        let listening = serde_json::from_str(&line).map_err(|_| BenchError::Child("did not start".to_owned()))?;
        Ok(Self { process, listening })
    }

    /// Its TCP address.
    pub(super) fn tcp(&self) -> Door {
        Door::Tcp(self.listening.tcp)
    }

    /// Its Unix socket.
    pub(super) fn unix(&self) -> Door {
        Door::Unix(self.listening.unix.clone())
    }

    /// The most memory that it ever had, in bytes.
    pub(super) fn peak_memory(&self) -> Result<u64, BenchError> {
        let path = PathBuf::from(format!("/proc/{}/status", self.process.child.id()));
        let status = fs::read_to_string(&path).map_err(BenchError::io("read the memory of the server under test"))?;
        peak_memory(&status).ok_or_else(|| BenchError::Child("does not show its memory".to_owned()))
    }

    /// The processor time that it took so far, in seconds, to a hundredth.
    pub(super) fn cpu_seconds(&self) -> Result<f64, BenchError> {
        let path = PathBuf::from(format!("/proc/{}/stat", self.process.child.id()));
        let stat = fs::read_to_string(&path).map_err(BenchError::io("read the processor time of the server under test"))?;
        cpu_seconds(&stat).ok_or_else(|| BenchError::Child("does not show its processor time".to_owned()))
    }

    /// What the relay tells of itself.
    pub(super) fn status(&self) -> Result<RelayStatus, BenchError> {
        let Some(ops) = self.listening.ops else { return Err(BenchError::Child("is no relay".to_owned())) };
        let client = Client::new(Endpoint::from(ops), STATUS_TIMEOUT);
        let status = block_on(get(&client, "/v1/status")).and_then(|body| parse(&client, &body));
        let status = status.map_err(|failure| BenchError::Child(format!("does not tell how it is: {failure}")))?;
        RelayStatus::read(&status).ok_or_else(|| BenchError::Child("does not tell what it acknowledged".to_owned()))
    }

    /// Lets a relay end by itself, its buffer closed in order.
    pub(super) fn end(self) -> Result<(), BenchError> {
        self.process.end()
    }
}

/// The relay at one moment, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RelayStatus {
    /// Events acknowledged by Kafka since it started.
    pub(super) acked: u64,
    /// Events durable and not acknowledged.
    pub(super) backlog: u64,
}

impl RelayStatus {
    fn read(status: &Value) -> Option<Self> {
        let look = Look(status);
        Some(Self { acked: look.count("drain.acked")?, backlog: look.count("buffer.ledger.backlog")? })
    }
}

impl Settings<'_> {
    fn toml(&self, socket: &Path) -> String {
        // A TOML string is written as a JSON string is, for all that can stand in a path or an address.
        let text = |text: &str| Value::from(text).to_string();
        let path = |path: &Path| text(&path.to_string_lossy());
        let mut toml = format!(
            "[ingest]\nlisten = \"127.0.0.1:0\"\nsocket = {}\n[buffer]\ndir = {}\nmax_bytes = {}\n[kafka]\nbrokers = {}\ntopic = {}\n\
             [ops]\nlisten = \"127.0.0.1:0\"\n[shutdown]\ngrace = \"2s\"\n[log]\nlevel = \"off\"\n",
            path(socket),
            path(self.buffer),
            text(&show_size(self.max_bytes)),
            text(self.brokers),
            text(self.topic),
        );
        if let Some(url) = self.redis_url {
            toml.extend(["[redis]\nurl = ", &text(url), "\n"]);
        }
        toml
    }
}

/// In the directory under test, unless its path is too long for a socket.
fn socket_path(dir: &Path) -> PathBuf {
    let path = dir.join("ingest.sock");
    if path.as_os_str().len() <= LONGEST_SOCKET_PATH {
        return path;
    }
    std::env::temp_dir().join(format!("dualstream-bench-{}.sock", std::process::id()))
}

/// The kernel's figure of the peak in `/proc/…/status`, in bytes.
pub(super) fn peak_memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Processor time in `/proc/…/stat`: fields 14 and 15, in hundredths of a second on every Linux; counted from after the name, which may hold anything.
pub(super) fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::BufferSnapshot;
    use crate::config::{Sources, load};
    use crate::lifecycle::Ledger;

    // Goal: the relay under test runs with the settings that the measurement means.
    #[test]
    fn settings_load() {
        let dir = tempfile::tempdir().unwrap();
        let (file, buffer) = (dir.path().join("server.toml"), dir.path().join("a \"b\""));
        let settings =
            Settings { buffer: &buffer, max_bytes: 3 << 20, brokers: NO_KAFKA, topic: "t", redis_url: Some("redis://127.0.0.1:1") };
        fs::write(&file, settings.toml(&dir.path().join("s"))).unwrap();
        let config = load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
        assert_eq!((config.buffer.dir, config.buffer.max_bytes), (buffer, 3 << 20));
        assert_eq!((config.kafka.brokers.as_str(), config.kafka.topic.as_str()), (NO_KAFKA, "t"));
        assert_eq!(config.redis.url.as_deref(), Some("redis://127.0.0.1:1"));
    }

    // Goal: the memory is the kernel's figure of the peak.
    #[test]
    fn memory_is_read() {
        assert_eq!(peak_memory("VmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"), Some(2 << 20));
        assert_eq!(peak_memory("VmRSS:\t 1 kB\n"), None);
    }

    // Goal: the processor time is all of it, user and system.
    #[test]
    fn processor_time_is_read() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 8 0 12345 1000 200";
        assert!(cpu_seconds(stat).is_some_and(|seconds| (seconds - 2.0).abs() < 1e-9));
        assert_eq!(cpu_seconds("42 (x) S 1"), None);
    }

    // Goal: the end is not believed to be reached because a field has another name.
    #[test]
    fn status_is_read() {
        let ledger = Ledger { backlog: 3, ..Ledger::default() };
        let buffer = BufferSnapshot { ledger, ..BufferSnapshot::default() };
        let status = serde_json::json!({"drain": {"acked": 7}, "buffer": buffer});
        assert_eq!(RelayStatus::read(&status), Some(RelayStatus { acked: 7, backlog: 3 }));
        assert_eq!(RelayStatus::read(&Value::Null), None);
    }
}
