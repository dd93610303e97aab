//! A disk that takes nothing and refuses nothing (NFS without its server): the gateway ends all the same.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::served::{Served, settings};
use crate::signals_are_understood::{in_a_call, lab, post};

/// A pipe that is full: whoever writes into it waits for ever.
struct Full {
    path: PathBuf,
    _open: File,
}

impl Full {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("wrtc-full-{:016x}", rand::random::<u64>()));
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut open = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .unwrap();
        // By pages, then what is left of the last.
        for size in [4096, 1] {
            while match open.write(&vec![b'x'; size]) {
                Ok(_) => true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(error) => panic!("{error}"),
            } {}
        }
        Self { path, _open: open }
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_records_that_nobody_takes() {
    let (lab, full) = (lab().await, Full::new());
    let records = format!("journal.call_records={}", full.path.display());
    let mut served = Served::start(&settings(lab.sip_addr(), &[&records]));
    let ssid = in_a_call(&served, "5001").await;
    let url = format!("{}/message?from={ssid}&to=600", served.base);
    assert_eq!(post(url, "BYE".to_owned()).await.0, 200);
    served.signal("-INT");
    assert!(served.ended().await.success());
}
