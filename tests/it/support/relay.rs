//! The real binary, `dualstream run`, as a child: started and restarted, stopped and killed, asked and measured.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    http::Client,
    metrics,
    process::Process,
    relay_builder::{Builder, PROGRAM},
    socket::Address,
    wait,
};

const READY: Duration = Duration::from_secs(30);

/// A relay and its folder. Dropped, it is killed and the folder removed.
pub struct Relay {
    process: Process,
    bound: Bound,
    command: Command,
    socket: PathBuf,
    buffer: PathBuf,
    earlier_logs: Vec<String>,
    // After the process, so that it is removed last.
    dir: TempDir,
}

/// Where it listens, from its own log line.
struct Bound {
    ingest: String,
    ops: String,
    probe: String,
}

impl Relay {
    /// A relay to configure and start.
    pub fn builder() -> Builder {
        Builder::new()
    }

    #[track_caller]
    pub(super) fn launch(command: Command, socket: PathBuf, buffer: PathBuf, dir: TempDir) -> Self {
        let (process, bound) = spawn(&command);
        Self { process, bound, command, socket, buffer, earlier_logs: Vec::new(), dir }
    }

    /// Kills it if it runs and starts it again with the same configuration and folders. TCP ports change.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.kill9();
        self.earlier_logs.extend(self.process.lines());
        let (process, bound) = spawn(&self.command);
        self.process = process;
        self.bound = bound;
    }

    /// Kills it if it runs, starts it again and kills that one `life` later, ready or not.
    #[track_caller]
    pub fn restart_and_kill(&mut self, life: Duration) {
        self.process.kill9();
        self.earlier_logs.extend(self.process.lines());
        self.process = Process::spawn("relay", &self.command);
        thread::sleep(life);
        self.process.kill9();
    }

    /// kill -9, and waits until it is gone.
    pub fn kill9(&self) {
        self.process.kill9();
    }

    /// Asks it to stop.
    pub fn sigterm(&self) {
        self.process.terminate();
    }

    /// SIGSTOP and SIGCONT, and other things one does to a process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until it ends; its exit code. Panics with its log when it does not end or was killed by a signal.
    #[track_caller]
    pub fn wait_exit(&self, deadline: Duration) -> i32 {
        let status = self.process.wait_exit(deadline);
        status.code().unwrap_or_else(|| panic!("ended by {status}:\n{}", self.process.tail(100)))
    }

    /// SIGTERM, and the exit code.
    #[track_caller]
    pub fn stop(&self, deadline: Duration) -> i32 {
        self.sigterm();
        self.wait_exit(deadline)
    }
}

// === Talking to it ===
impl Relay {
    /// Ingest over TCP.
    pub fn client(&self) -> Client {
        Client::new(self.ingest())
    }

    /// Ingest over the Unix socket.
    pub fn uds_client(&self) -> Client {
        Client::new(self.ingest_socket())
    }

    /// The operator's side.
    pub fn ops_client(&self) -> Client {
        Client::new(Address::Tcp(self.bound.ops.clone()))
    }

    /// Probes and metrics.
    pub fn probe_client(&self) -> Client {
        Client::new(Address::Tcp(self.bound.probe.clone()))
    }

    /// Where ingest listens on TCP, until the next restart.
    pub fn ingest(&self) -> Address {
        Address::Tcp(self.bound.ingest.clone())
    }

    /// Where ingest listens on a Unix socket, also after a restart.
    pub fn ingest_socket(&self) -> Address {
        Address::Unix(self.socket.clone())
    }
}

// === Watching it ===
impl Relay {
    /// `GET /v1/status`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.ops_client().get("/v1/status").expect(200).json()
    }

    /// `GET /metrics`.
    #[track_caller]
    pub fn metrics(&self) -> String {
        self.probe_client().get("/metrics").expect(200).text()
    }

    /// A metric's value: see [`metrics::value`]. Panics when there is none of that name.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics();
        metrics::value(&text, name).unwrap_or_else(|| panic!("no metric {name} in:\n{text}"))
    }

    /// Waits until a metric satisfies `holds`; gives its value.
    #[track_caller]
    pub fn wait_metric(&self, name: &str, deadline: Duration, holds: impl Fn(f64) -> bool) -> f64 {
        wait::until_ok(name, deadline, || {
            let value = self.metric(name);
            if holds(value) { Ok(value) } else { Err(value) }
        })
    }

    /// What it logged, in all its lives.
    pub fn logs(&self) -> Vec<String> {
        [self.earlier_logs.clone(), self.process.lines()].concat()
    }

    /// The log lines that are JSON, parsed.
    pub fn json_logs(&self) -> Vec<Value> {
        let lines = self.logs();
        let parsed = lines.iter().map(|line| serde_json::from_str(line));
        parsed.filter_map(Result::ok).collect()
    }

    /// Memory in use.
    #[track_caller]
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid())).expect("the relay runs");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let digits = line.and_then(|l| l.split_whitespace().next());
        digits.expect("VmRSS").parse().expect("a number")
    }

    /// Processor time since it was started.
    #[track_caller]
    pub fn processor_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.pid())).expect("the relay runs");
        // The second field is a name in parentheses, which may hold anything; hundredths of a second on every Linux (proc(5)).
        let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
    }

    /// What `dualstream buffer info` says about the buffer folder, running or not.
    #[track_caller]
    pub fn buffer_info(&self) -> Value {
        let mut command = Command::new(PROGRAM);
        command.args(["buffer", "info", "--json", "--dir"]).arg(&self.buffer);
        let output = command.output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", output.status);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("not JSON: {e}: {said}"))
    }

    /// Disk in use below the buffer folder, as the file system counts it.
    pub fn allocated_bytes(&self) -> u64 {
        allocated(&self.buffer)
    }

    /// The buffer folder.
    pub fn buffer_dir(&self) -> &Path {
        &self.buffer
    }

    /// The folder with everything the relay writes.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

#[track_caller]
fn spawn(command: &Command) -> (Process, Bound) {
    let process = Process::spawn("relay", command);
    let bound = process.wait_line("ready line", READY, |line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let fields = &line;
        let field = |name: &str| {
            let address = fields.get(name).and_then(Value::as_str);
            address.unwrap_or_default().to_owned()
        };
        (field("message") == "ready").then(|| Bound { ingest: field("ingest"), ops: field("ops"), probe: field("probe") })
    });
    (process, bound)
}

/// Files may vanish while we count: the relay deletes segments.
fn allocated(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    let below: u64 = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| allocated(&entry.path())).sum();
    metadata.blocks() * 512 + below
}
