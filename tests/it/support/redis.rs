//! A real Redis, without persistence, that can stop, come back at its address, and freeze.

use std::{
    process::Command,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tempfile::TempDir;

use super::{ports, process::Process, scratch, wait};

const READY: Duration = Duration::from_secs(20);
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A server with an address of its own. Dropped, it is killed.
pub struct Redis {
    port: u16,
    password: Option<String>,
    extra: Vec<String>,
    process: Mutex<Option<Process>>,
    dir: TempDir,
}

impl Redis {
    /// A server that lets everybody in.
    pub fn start() -> Self {
        Self::launch(None, &[])
    }

    /// A server that wants this password of its `default` user.
    pub fn start_with_password(password: &str) -> Self {
        Self::launch(Some(password), &[])
    }

    /// A server with more arguments for `redis-server`, such as `--maxmemory 1mb`.
    pub fn start_with(extra: &[&str]) -> Self {
        Self::launch(None, extra)
    }

    /// Stops the server in good order, and waits until it is gone.
    pub fn stop(&self) {
        let process = self.process().take();
        process.expect("Redis runs").stop(STOP_GRACE);
    }

    /// kill -9.
    pub fn kill9(&self) {
        drop(self.process().take());
    }

    /// Starts the server again, empty, at the same address.
    pub fn start_again(&self) {
        self.spawn();
    }

    /// SIGSTOP: its connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.process().as_ref().expect("Redis runs").pause();
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process().as_ref().expect("Redis runs").resume();
    }

    /// Its URL, with the password when it wants one.
    pub fn url(&self) -> String {
        let user = self.password.as_ref().map(|p| format!(":{p}@"));
        format!("redis://{}{}", user.unwrap_or_default(), self.address())
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        ports::address(self.port)
    }

    /// A connection for a test's own commands.
    #[track_caller]
    pub fn connection(&self) -> redis::Connection {
        self.connect().expect("Redis takes a connection")
    }

    fn launch(password: Option<&str>, extra: &[&str]) -> Self {
        let server = Self {
            port: ports::free(),
            password: password.map(str::to_owned),
            extra: extra.iter().map(|&arg| arg.to_owned()).collect(),
            process: Mutex::new(None),
            dir: scratch::dir("redis"),
        };
        server.spawn();
        server
    }

    fn spawn(&self) {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.dir.path())
            .args(&self.extra);
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        let mut process = self.process();
        assert!(process.is_none(), "Redis runs already");
        let process = process.insert(Process::spawn("redis-server", &command));
        let up = wait::try_until(READY, || {
            let mut connection = self.connect()?;
            redis::cmd("PING").exec(&mut connection)
        });
        if let Err(seen) = up {
            panic!("Redis is not up after {READY:?}; last seen: {seen}:\n{}", process.tail(30));
        }
    }

    fn connect(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(self.url())?.get_connection_with_timeout(Duration::from_secs(5))
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap()
    }
}
