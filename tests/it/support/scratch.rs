//! Folders for test data: on a real disk, and gone when the test process is gone, however it ended.
//!
//! They lie under cargo's own temporary folder rather than the system's, which is often held in memory: a relay whose
//! buffer is on such a volume rightly says that nothing is durable there.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::OnceLock,
};

use tempfile::TempDir;

/// A new folder, removed on drop.
pub fn dir(name: &str) -> TempDir {
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(root())
        .unwrap_or_else(|e| panic!("cannot create a folder for {name}: {e}"))
}

/// A path for a Unix socket of this name in `dir`; elsewhere when the path would be too long for a socket address.
pub fn socket_path(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    if path.as_os_str().len() < 100 {
        return path;
    }
    let folder = dir.file_name().unwrap_or_default().to_string_lossy();
    std::env::temp_dir().join(format!("{}-{folder}-{name}", process::id()))
}

fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("it-{}", process::id()));
        fs::create_dir_all(&root).expect("cargo's temporary folder takes a folder");
        remove_when_we_end(&root);
        root
    })
}

/// Statics are never dropped and a killed process drops nothing, so a shell removes the folder: it reads a pipe that
/// this process holds open, which ends when the process does.
#[expect(clippy::zombie_processes, reason = "it is meant to outlive us")]
fn remove_when_we_end(root: &Path) {
    let mut shell = Command::new("sh")
        // Twice, because a child that dies with us may still have been writing during the first.
        .args(["-c", r#"cat >/dev/null; rm -rf "$1"; sleep 1; rm -rf "$1""#])
        .arg("sh")
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Its own group, so that Ctrl-C in the terminal does not take it along.
        .process_group(0)
        .spawn()
        .expect("sh starts");
    std::mem::forget(shell.stdin.take());
}
