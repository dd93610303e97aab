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
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

pub use epoll::{Epoll, Waker};
pub use recv::{Received, RecvBatch};
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
    let _ = socket.set_tos_v4(EXPEDITED);
    if address.is_ipv6() {
        let _ = socket.set_tclass_v6(EXPEDITED);
        if address.ip().is_unspecified() {
            // Both families, whatever the host's default; IPv4 peers have mapped addresses.
            socket.set_only_v6(false)?;
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Makes a socket that is bound to a wildcard address report which of the host's addresses a
/// datagram came to, so that the answer can leave from the same one.
pub fn report_local(socket: &UdpSocket) -> io::Result<()> {
    let (level, option) = match socket.local_addr()? {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        // Of IPv4 on the same socket too, as mapped addresses.
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    // SAFETY: an int that lives through the call, and its size.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes back [`UdpSocket::connect`]. The socket keeps its port if it was bound to one by number.
pub fn disconnect(socket: &UdpSocket) -> io::Result<()> {
    let name = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    // SAFETY: a sockaddr that lives through the call, and its size.
    let done = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            &raw const name,
            mem::size_of_val(&name) as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// CPU time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: one timespec that lives through the call. A kernel without this clock leaves it 0.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Lets other threads of this process go first.
pub fn step_back() {
    const NICER: libc::c_int = 5;
    // SAFETY: no pointers. On Linux it is the calling thread's own; what is refused changes nothing.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICER) };
}
