//! A broker's data on a file system of its own, in a file: it can be slow or full without harm to
//! anybody else.
//!
//! Slow is what cgroup v1's `blkio.throttle` makes of it: so many writes a second. That counts
//! where a process waits for the disk, not for what the page cache takes, so the topics are told
//! meanwhile to flush each append.

use super::programs;
use nix::{fcntl::posix_fallocate, sys::statvfs::statvfs};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};
use tidemill_testbed::programs::{answer, run};

/// Sparse: it takes as much as is in it.
const SIZE: &str = "4G";
const CGROUPS: &str = "/sys/fs/cgroup/blkio";

/// A mounted image, as long as it is held. Mounting needs root.
#[derive(Debug)]
pub struct Volume {
    image: PathBuf,
    folder: PathBuf,
    /// The device: its path, and its numbers as cgroups name it.
    device: String,
    numbers: String,
}

impl Volume {
    /// An empty one, mounted on `folder`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        unmount(folder);
        fs::create_dir_all(folder).expect("a folder");
        let image = folder.with_extension("img");
        programs(&format!("truncate -s {SIZE} {}", image.display()));
        programs(&format!("mkfs.ext4 -q -F -m 0 {}", image.display()));
        let device = answer(Command::new("losetup").args(["-f", "--show"]).arg(&image)).expect("a loop device");
        let device = device.trim().to_owned();
        programs(&format!("mount {device} {}", folder.display()));
        // Kafka refuses a folder that has anything but its own.
        fs::remove_dir(folder.join("lost+found")).expect("ext4 has one");
        let name = device.rsplit('/').next().expect("a path").to_owned();
        let numbers = fs::read_to_string(format!("/sys/block/{name}/dev")).expect("a block device");
        Self { image, folder: folder.to_owned(), device, numbers: numbers.trim().to_owned() }
    }

    /// Lets the process do so many writes a second there.
    ///
    /// # Panics
    /// When the kernel has no cgroup v1 for that.
    pub fn slow(&self, pid: i32, writes_per_second: usize) {
        let group = self.cgroup();
        fs::create_dir_all(&group).expect("a slow disk needs cgroup v1's blkio");
        let limit = format!("{} {writes_per_second}", self.numbers);
        fs::write(group.join("blkio.throttle.write_iops_device"), limit).expect("the limit is taken");
        fs::write(group.join("cgroup.procs"), pid.to_string()).expect("the process is moved");
    }

    /// Whether the process may do only so many writes a second there.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn is_slow_for(&self, pid: i32, writes_per_second: usize) -> bool {
        let read = |file: &str| fs::read_to_string(self.cgroup().join(file)).expect("the cgroup is there");
        let limit = format!("{} {writes_per_second}", self.numbers);
        read("blkio.throttle.write_iops_device").lines().any(|line| line == limit)
            && read("cgroup.procs").lines().any(|line| line == pid.to_string())
    }

    /// How many writes those have asked for that are slow there.
    ///
    /// # Panics
    /// When none is.
    #[must_use]
    pub fn writes(&self) -> usize {
        let counters = fs::read_to_string(self.cgroup().join("blkio.throttle.io_serviced")).expect("the cgroup's");
        let prefix = format!("{} Write ", self.numbers);
        let writes = counters.lines().find_map(|line| line.strip_prefix(&prefix)?.parse().ok());
        // The kernel has no line for a device before anything is asked of it.
        writes.unwrap_or(0)
    }

    /// Lets all be as fast as they can.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn fast(&self) {
        let group = self.cgroup();
        if group.exists() {
            // First the limit: who waits for the disk cannot be moved.
            let none = format!("{} 0", self.numbers);
            fs::write(group.join("blkio.throttle.write_iops_device"), none).expect("the limit is taken");
            for pid in fs::read_to_string(group.join("cgroup.procs")).expect("its processes").lines() {
                // One that has ended meanwhile need not be moved.
                drop(fs::write(Path::new(CGROUPS).join("cgroup.procs"), pid));
            }
            // It can be removed when the last of its processes is reaped; the limit is gone anyway.
            drop(fs::remove_dir(group));
        }
    }

    /// Takes all room that is left.
    ///
    /// # Panics
    /// When it cannot.
    pub fn fill(&self) {
        let room = statvfs(&self.folder).expect("a file system");
        let bytes = room.blocks_available() * room.fragment_size();
        let mut file = File::create(self.filler()).expect("a file");
        // Some of it goes to the file's own description: a little less, and the rest in small pieces.
        posix_fallocate(&file, 0, (bytes - bytes / 200) as i64).expect("the room is there");
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).expect("it can be written");
        while file.write_all(&[1; 4_096]).is_ok() {}
    }

    /// Gives it back.
    ///
    /// # Panics
    /// When nothing was taken.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    // Beside the broker's own files, under a name that it does not mind: it minds folders.
    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    fn cgroup(&self) -> PathBuf {
        let name = self.device.rsplit('/').next().expect("a path");
        Path::new(CGROUPS).join(format!("tidemill-faults-{name}"))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        unmount(&self.folder);
        drop(fs::remove_file(&self.image));
    }
}

/// Unmounts it and gives its device back, also what an earlier run has left.
fn unmount(folder: &Path) {
    let quietly = |words: &str| drop(run(Command::new("sh").args(["-c", words])));
    quietly(&format!("umount {0} || umount --lazy {0}", folder.display()));
    let image = folder.with_extension("img");
    quietly(&format!("losetup -j {} | cut -d: -f1 | xargs -r losetup -d", image.display()));
}
