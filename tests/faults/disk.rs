//! A small disk.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use crate::gateway::Dir;

pub struct Disk(Dir);

impl Disk {
    /// Of so many megabytes; wants root.
    pub fn new(megabytes: u32) -> Self {
        let dir = Dir::new();
        let options = format!("size={megabytes}m,mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "wrtc-faults"])
            .arg(&dir.0)
            .status();
        assert!(mounted.is_ok_and(|status| status.success()), "no tmpfs here");
        Self(dir)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.file(name)
    }

    /// Takes what room there is.
    pub fn fill(&self) {
        let mut file = File::create(self.file("filler")).unwrap();
        for size in [65_536, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    pub fn empty(&self) {
        std::fs::remove_file(self.file("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0.0).status();
    }
}
