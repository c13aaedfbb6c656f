//! A child process under observation: its output line by line, its signals, its end.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{spawner, wait};

/// Lines kept of a child's output; older ones are dropped.
const KEPT_LINES: usize = 20_000;

/// A running or ended child. Dropped, it is killed.
pub struct Process {
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    output: Arc<Mutex<Output>>,
}

#[derive(Default)]
struct Output {
    lines: VecDeque<String>,
    dropped: usize,
    open_streams: usize,
}

impl Process {
    /// Starts `command` with its output captured. `name` is for messages.
    #[track_caller]
    pub fn spawn(name: &str, command: &Command) -> Self {
        let mut child = spawner::spawn(command).unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let output = Arc::new(Mutex::new(Output::default()));
        capture(child.stdout.take().expect("piped"), &output);
        capture(child.stderr.take().expect("piped"), &output);
        Self { name: name.to_owned(), pid: Pid::from_child(&child), child: Mutex::new(child), output }
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// Sends a signal; nothing happens when the process has ended.
    pub fn signal(&self, signal: Signal) {
        // The lock keeps the process from being reaped, and its id from being given to another, while we send.
        let mut child = self.child.lock().unwrap();
        if child.try_wait().ok().flatten().is_none() {
            kill_process(self.pid, signal).unwrap_or_else(|e| panic!("cannot send {signal:?} to {}: {e}", self.name));
        }
    }

    /// SIGTERM: asks it to stop.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGSTOP: it stays, but does nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// kill -9, and waits until it is gone.
    pub fn kill9(&self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.child.lock().unwrap().wait().expect("a child can be waited for")
    }

    /// How it ended, if it has.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().expect("a child can be waited for")
    }

    /// Waits until it ends by itself and its output is read; panics with the output when it does not.
    #[track_caller]
    pub fn wait_exit(&self, deadline: Duration) -> ExitStatus {
        let ended = wait::try_until(deadline, || self.exited().filter(|_| self.output.lock().unwrap().open_streams == 0).ok_or(()));
        ended.unwrap_or_else(|()| panic!("{} did not end within {deadline:?}:\n{}", self.name, self.tail(100)))
    }

    /// SIGTERM, and SIGKILL if that does not end it in time. Says whether it went by itself.
    pub fn stop(&self, grace: Duration) -> bool {
        self.terminate();
        let ended = wait::try_until(grace, || self.exited().ok_or(()));
        if ended.is_err() {
            self.kill9();
        }
        ended.is_ok()
    }

    /// Waits for a line of output that `find` makes something of, from the first line on; panics with the output when
    /// the process ends or the deadline passes before.
    #[track_caller]
    pub fn wait_line<T>(&self, what: &str, deadline: Duration, find: impl Fn(&str) -> Option<T>) -> T {
        let mut seen = 0;
        let found = wait::try_until(deadline, || {
            // The order matters: what an ended process has written is complete only after its streams are closed.
            let ended = self.exited();
            let output = self.output.lock().unwrap();
            let skip = usize::saturating_sub(seen, output.dropped);
            seen = output.dropped + output.lines.len();
            match output.lines.iter().skip(skip).find_map(|line| find(line)) {
                Some(found) => Ok(Some(found)),
                None if ended.is_some() && output.open_streams == 0 => Ok(None),
                None => Err(()),
            }
        });
        let Ok(Some(found)) = found else {
            let state = self.exited().map_or("still running".to_owned(), |s| s.to_string());
            panic!("{} gave no {what} within {deadline:?} ({state}):\n{}", self.name, self.tail(100));
        };
        found
    }

    /// What it wrote to stdout and stderr so far.
    pub fn lines(&self) -> Vec<String> {
        self.output.lock().unwrap().lines.iter().cloned().collect()
    }

    /// The last lines of [`Self::lines`], for a message.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn capture(stream: impl Read + Send + 'static, output: &Arc<Mutex<Output>>) {
    output.lock().unwrap().open_streams += 1;
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let mut output = output.lock().unwrap();
            if output.lines.len() == KEPT_LINES {
                output.lines.pop_front();
                output.dropped += 1;
            }
            output.lines.push_back(String::from_utf8_lossy(&line).into_owned());
        }
        output.lock().unwrap().open_streams -= 1;
    });
}
