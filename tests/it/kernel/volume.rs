//! A small volume of its own: a file system that can really be full, gone when the test is.

use std::{
    fmt, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::support::scratch;

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In a file, through a loop device.
    Ext4,
    /// In memory.
    Tmpfs,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Ext4 { "ext4" } else { "tmpfs" })
    }
}

/// A mounted volume. Dropped, or when this process ends in whatever way, it is unmounted.
pub struct Volume {
    mounted: PathBuf,
    watcher: Child,
    _dir: TempDir,
}

impl Volume {
    /// Mounts one, or says why the machine does not let us.
    pub fn mount(kind: Kind, bytes: u64) -> Result<Self, String> {
        let dir = scratch::dir(&format!("volume-{kind}"));
        let mounted = dir.path().join("mounted");
        fs::create_dir(&mounted).map_err(|e| e.to_string())?;
        match kind {
            Kind::Ext4 => {
                let image = dir.path().join("image");
                fs::File::create(&image).and_then(|file| file.set_len(bytes)).map_err(|e| e.to_string())?;
                let image = image.display().to_string();
                run("mkfs.ext4", &["-q", "-F", "-m", "0", "-J", "size=4", &image])?;
                run("mount", &["-o", "loop", &image, &mounted.display().to_string()])?;
            }
            Kind::Tmpfs => run("mount", &["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs", &mounted.display().to_string()])?,
        }
        Ok(Self { watcher: unmount_when_we_end(&mounted), mounted, _dir: dir })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mounted
    }

    /// Bytes in use, files that are deleted and still open included.
    pub fn used_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.mounted).expect("the volume is mounted");
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }

    /// Bytes that can still be written.
    pub fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.mounted).expect("the volume is mounted");
        stat.f_bavail * stat.f_frsize
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // The end of its input is what the watcher waits for.
        drop(self.watcher.stdin.take());
        drop(self.watcher.wait());
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// As the folders of `scratch`: a shell that outlives us.
fn unmount_when_we_end(mounted: &Path) -> Child {
    Command::new("sh")
        .args(["-c", r#"cat >/dev/null; umount -l "$1""#, "sh"])
        .arg(mounted)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh starts")
}
