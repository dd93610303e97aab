//! Batched sending.

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use super::BATCH;
use super::address::to_storage;

/// Datagrams that wait to leave through one socket.
#[derive(Default)]
pub struct SendBatch {
    bytes: Vec<u8>,
    entries: Vec<(SocketAddr, usize, usize)>,
}

impl SendBatch {
    pub fn push(&mut self, to: SocketAddr, data: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(data);
        self.entries.push((to, start, data.len()));
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
fn send_some(
    socket: &UdpSocket,
    bytes: &[u8],
    entries: &[(SocketAddr, usize, usize)],
) -> (usize, bool) {
    let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::zeroed() }; BATCH];
    let mut vectors = [const { MaybeUninit::<libc::iovec>::zeroed() }; BATCH];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::zeroed() }; BATCH];
    let mut count = 0;
    for (((header, vector), name), (to, start, len)) in
        headers.iter_mut().zip(&mut vectors).zip(&mut names).zip(entries)
    {
        let Some(data) = bytes.get(*start..start + len) else { break };
        // SAFETY: all-zero bytes are a valid sockaddr_storage.
        let name = unsafe { name.assume_init_mut() };
        let name_len = to_storage(*to, name);
        let vector = vector
            .write(libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() });
        // SAFETY: all-zero bytes are a valid mmsghdr.
        let header = unsafe { header.assume_init_mut() };
        header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
        header.msg_hdr.msg_namelen = name_len;
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: `count` headers were filled in; the kernel only reads names and data.
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
