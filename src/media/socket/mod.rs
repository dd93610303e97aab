//! System calls: batched UDP, epoll, eventfd. The only `unsafe` of the crate.
//!
//! Moving a packet costs what the kernel's UDP path costs; the batches here save the calls
//! around it, no more.
#![allow(unsafe_code)]

mod address;
mod epoll;
mod recv;
mod send;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, UdpSocket};

pub use epoll::{Epoll, Waker};
pub use recv::RecvBatch;
pub use send::SendBatch;

/// Packets a system call: more saves nothing measurable.
pub const BATCH: usize = 32;

/// DSCP 46, where it stands in the header's byte.
const EXPEDITED: u32 = 46 << 2;

/// Raises this process's limit of open descriptors as far as it may; returns what it is now. A call
/// has two, and the 1024 that most shells and services give would end at some 500 calls.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: one rlimit that lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the same; it is only read.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// Binds a UDP socket with buffers of the given size in bytes (the kernel may give less).
pub fn bind(address: SocketAddr, buffer: Option<usize>) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if let Some(bytes) = buffer {
        // What is refused here only means that a burst is lost earlier.
        let _ = socket.set_recv_buffer_size(bytes);
        let _ = socket.set_send_buffer_size(bytes);
    }
    // Expedited forwarding for voice (RFC 4594 4.1); a network that ignores it loses nothing.
    let _ = match address {
        SocketAddr::V4(_) => socket.set_tos_v4(EXPEDITED),
        SocketAddr::V6(_) => socket.set_tclass_v6(EXPEDITED),
    };
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
