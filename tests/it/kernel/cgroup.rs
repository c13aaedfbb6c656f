//! A limit on memory that the kernel enforces, as a container has it: a control group of version 1 or 2.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use crate::support::wait;

/// A group whose processes together may have so much memory, page cache included. Dropped, it is removed: its processes must have ended.
pub struct MemoryGroup {
    dir: PathBuf,
    unified: bool,
}

impl MemoryGroup {
    /// Makes one, or says why the machine does not let us.
    pub fn create(bytes: u64) -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|e| format!("/proc/self/mounts: {e}"))?;
        let ours = fs::read_to_string("/proc/self/cgroup").map_err(|e| format!("/proc/self/cgroup: {e}"))?;
        let places = places(&mounts, &ours);
        if places.is_empty() {
            return Err("no memory controller is mounted".to_owned());
        }
        let tries = places.into_iter().map(|(parent, unified)| Self::create_in(&parent, unified, bytes));
        let mut why = Vec::new();
        for tried in tries {
            match tried {
                Ok(group) => return Ok(group),
                Err(refused) => why.push(refused),
            }
        }
        Err(why.join("; "))
    }

    fn create_in(parent: &Path, unified: bool, bytes: u64) -> Result<Self, String> {
        let group = Self { dir: parent.join(format!("dualstream-test-{}", process::id())), unified };
        let failed = |e: io::Error| format!("{}: {e}", group.dir.display());
        fs::create_dir(&group.dir).map_err(failed)?;
        fs::write(group.file("memory.limit_in_bytes", "memory.max"), bytes.to_string()).map_err(failed)?;
        // Nothing may go to a swap instead. Without one there is no such file, or it refuses.
        let (swap, most) = if unified { ("memory.swap.max", 0) } else { ("memory.memsw.limit_in_bytes", bytes) };
        drop(fs::write(group.dir.join(swap), most.to_string()));
        Ok(group)
    }

    /// Who writes a process id into this file is in the group from then on, with all its children.
    pub fn processes(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }

    /// How often the kernel has killed somebody in the group for want of memory.
    pub fn kills(&self) -> u64 {
        count(&self.file("memory.oom_control", "memory.events"), "oom_kill ")
    }

    /// Bytes that are nobody's page cache and cannot be given back: what the processes have allocated.
    pub fn anonymous_bytes(&self) -> u64 {
        count(&self.dir.join("memory.stat"), if self.unified { "anon " } else { "rss " })
    }

    /// The most bytes that were ever counted at once, page cache included; none where the kernel does not tell.
    pub fn peak_bytes(&self) -> Option<u64> {
        fs::read_to_string(self.file("memory.max_usage_in_bytes", "memory.peak")).ok()?.trim().parse().ok()
    }

    fn file(&self, one: &str, two: &str) -> PathBuf {
        self.dir.join(if self.unified { two } else { one })
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // What the test waited for in vain did not come because of this.
        if thread::panicking() && self.kills() > 0 {
            println!("the kernel has killed {} processes in the group for want of memory", self.kills());
        }
        // The kernel takes a moment to see that the last one has gone.
        drop(wait::try_until(Duration::from_secs(5), || match fs::remove_dir(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }));
    }
}

/// The number that follows a name in one of the kernel's files.
#[track_caller]
fn count(file: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
    value.unwrap_or_else(|| panic!("{}: no {name}in\n{text}", file.display()))
}

/// Where a group could be made, best first, and whether it is of version 2: below our own group, else below the root.
fn places(mounts: &str, ours: &str) -> Vec<(PathBuf, bool)> {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let unified = kind == "cgroup2";
        (unified || kind == "cgroup" && options.split(',').any(|option| option == "memory")).then(|| (PathBuf::from(at), unified))
    });
    mounted
        .flat_map(|(root, unified)| {
            let own = ours.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                let is_it = if unified { controllers.is_empty() } else { controllers.split(',').any(|one| one == "memory") };
                is_it.then(|| root.join(path.trim_start_matches('/')))
            });
            [own, Some(root)].into_iter().flatten().map(move |place| (place, unified)).collect::<Vec<_>>()
        })
        .collect()
}

// Goal: the group is made where this machine has its controller, be it of version 1 or 2.
#[test]
fn both_versions_are_found() {
    let two = places("x /a ext4 rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n", "0::/user.slice/a\n");
    assert_eq!(two, [("/sys/fs/cgroup/user.slice/a".into(), true), ("/sys/fs/cgroup".into(), true)]);
    let one = "cgroup /c/cpu cgroup rw,cpu 0 0\ncgroup /c/memory cgroup rw,relatime,memory 0 0\n";
    assert_eq!(places(one, "5:cpu:/x\n4:memory:/docker/y\n"), [("/c/memory/docker/y".into(), false), ("/c/memory".into(), false)]);
}
