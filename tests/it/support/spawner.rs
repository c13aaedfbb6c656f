//! Starts child processes that cannot outlive this one.
//!
//! `setpriv --pdeathsig KILL` asks the kernel to kill the child when its parent dies. "Parent" is the *thread* that
//! started it, and every test runs in a thread of its own: a Kafka that all tests share would die with the first of
//! them. So one thread that never ends starts everything.

use std::{
    io,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{Sender, SyncSender, channel, sync_channel},
    },
    thread,
};

type Job = (Command, SyncSender<io::Result<Child>>);

/// Starts `command` without input and with its output piped to us; the kernel kills it when this process ends, however
/// it ends.
pub fn spawn(command: &Command) -> io::Result<Child> {
    let (answer, result) = sync_channel(1);
    jobs().send((tied_to_us(command), answer)).expect("the spawner lives as long as the process");
    result.recv().expect("the spawner answers")
}

fn jobs() -> &'static Sender<Job> {
    static JOBS: OnceLock<Sender<Job>> = OnceLock::new();
    JOBS.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (mut command, answer) in jobs {
                    // Nobody waits any more: dropping the child is all there is to do.
                    drop(answer.send(command.spawn()));
                }
            })
            .expect("a thread starts");
        sender
    })
}

/// The same command through `setpriv`, which replaces itself with it: the process id stays.
fn tied_to_us(command: &Command) -> Command {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        tied.current_dir(dir);
    }
    tied
}
