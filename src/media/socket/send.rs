//! Batched sending.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use super::BATCH;
use super::address::{Control, leave_from, to_storage};

/// Datagrams that wait to leave through one socket.
#[derive(Default)]
pub struct SendBatch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

struct Entry {
    to: SocketAddr,
    from: Option<IpAddr>,
    start: usize,
    len: usize,
}

impl SendBatch {
    /// `from` is the local address to leave from; `None` leaves the choice to the kernel.
    pub fn push(&mut self, to: SocketAddr, from: Option<IpAddr>, data: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(data);
        self.entries.push(Entry { to, from, start, len: data.len() });
    }

    /// True when enough waits to fill a system call.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= BATCH
    }

    /// Sends all and forgets them. What the kernel refuses is lost, as on any network; the
    /// number of those is returned.
    pub fn flush(&mut self, socket: &UdpSocket) -> usize {
        let mut lost = 0;
        let mut rest = self.entries.as_slice();
        while !rest.is_empty() {
            let (sent, blocked) = send_some(socket, &self.bytes, rest);
            rest = &rest[sent.min(rest.len())..];
            if blocked {
                lost += rest.len();
                break;
            }
            if sent == 0 {
                // The first one cannot be sent (no route, too long): it alone is given up.
                lost += 1;
                rest = &rest[1..];
            }
        }
        self.entries.clear();
        self.bytes.clear();
        lost
    }
}

/// Sends up to [`BATCH`] of `entries`; how many were taken, and whether the socket was full.
fn send_some(socket: &UdpSocket, bytes: &[u8], entries: &[Entry]) -> (usize, bool) {
    let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; BATCH];
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; BATCH];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    let mut count = 0;
    for ((((header, vector), name), control), entry) in
        headers.iter_mut().zip(&mut vectors).zip(&mut names).zip(&mut controls).zip(entries)
    {
        let Some(data) = bytes.get(entry.start..entry.start + entry.len) else { break };
        let vector = vector
            .write(libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() });
        // SAFETY: all-zero bytes are a valid msghdr, of whose padding nobody knows the name.
        let mut inner: libc::msghdr = unsafe { mem::zeroed() };
        inner.msg_name = name.as_mut_ptr().cast();
        // SAFETY: the name has room, and so has the control buffer; both outlive the call below.
        unsafe {
            inner.msg_namelen = to_storage(entry.to, name.as_mut_ptr());
            if let Some(from) = entry.from {
                leave_from(from, &mut inner, control.as_mut_ptr());
            }
        }
        inner.msg_iov = vector;
        inner.msg_iovlen = 1;
        header.write(libc::mmsghdr { msg_hdr: inner, msg_len: 0 });
        count += 1;
    }
    // SAFETY: `count` headers were filled in; the kernel only reads names, control messages and
    // data.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count,
            libc::MSG_DONTWAIT as _,
        )
    };
    if sent >= 0 {
        (sent as usize, false)
    } else {
        (0, io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock)
    }
}
