//! System calls: batched UDP, epoll, eventfd. The only `unsafe` of the crate.
//!
//! Moving a packet costs what the kernel's UDP path costs; the batches here save the calls
//! around it, no more.
#![allow(unsafe_code)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// The largest datagram taken: an Ethernet frame and some room. Longer ones are reported as cut.
pub const DATAGRAM: usize = 2048;

/// Packets a system call: more saves nothing measurable.
pub const BATCH: usize = 32;

/// DSCP 46, where it stands in the header's byte.
const EXPEDITED: u32 = 46 << 2;

/// Room for what a batch of receives brought.
pub struct RecvBatch {
    buffers: Box<[[u8; DATAGRAM]]>,
    meta: Box<[Option<Meta>]>,
}

#[derive(Clone, Copy)]
struct Meta {
    from: SocketAddr,
    len: usize,
    cut: bool,
}

/// One datagram of a batch.
pub struct Received<'a> {
    pub from: SocketAddr,
    pub data: &'a mut [u8],
    /// It was longer than [`DATAGRAM`].
    pub cut: bool,
}

impl Default for RecvBatch {
    /// An empty one, which allocates nothing and receives nothing.
    fn default() -> Self {
        RecvBatch { buffers: Box::default(), meta: Box::default() }
    }
}

impl RecvBatch {
    pub fn new() -> Self {
        RecvBatch {
            buffers: vec![[0; DATAGRAM]; BATCH].into_boxed_slice(),
            meta: vec![None; BATCH].into_boxed_slice(),
        }
    }

    /// Receives up to [`BATCH`] datagrams without blocking; 0 when there are none.
    pub fn recv(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::zeroed() }; BATCH];
        let mut vectors = [const { MaybeUninit::<libc::iovec>::zeroed() }; BATCH];
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::zeroed() }; BATCH];
        for (((header, vector), name), buffer) in
            headers.iter_mut().zip(&mut vectors).zip(&mut names).zip(self.buffers.iter_mut())
        {
            let vector = vector
                .write(libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
            // SAFETY: all-zero bytes are a valid mmsghdr (null pointers, zero lengths).
            let header = unsafe { header.assume_init_mut() };
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as u32;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: BATCH headers, each pointing at a name and one vector over a whole buffer of
        // ours; all of them outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        let received = (received as usize).min(BATCH);
        for ((meta, header), name) in self.meta.iter_mut().zip(&headers).zip(&names).take(received)
        {
            // SAFETY: initialised above, the kernel filled in the results.
            let (header, name) = unsafe { (header.assume_init_ref(), name.assume_init_ref()) };
            *meta = from_storage(name).map(|from| Meta {
                from,
                len: (header.msg_len as usize).min(DATAGRAM),
                cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
        Ok(received)
    }

    /// The `index`th datagram of the last [`RecvBatch::recv`].
    pub fn get(&mut self, index: usize) -> Option<Received<'_>> {
        let meta = (*self.meta.get(index)?)?;
        let data = self.buffers.get_mut(index)?.get_mut(..meta.len)?;
        Some(Received { from: meta.from, data, cut: meta.cut })
    }
}

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

fn from_storage(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says it is a sockaddr_in, for which the storage has room.
            let v4 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says it is a sockaddr_in6, for which the storage has room.
            let v6 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn to_storage(addr: SocketAddr, name: &mut libc::sockaddr_storage) -> libc::socklen_t {
    match addr {
        SocketAddr::V4(addr) => {
            // SAFETY: the storage has room and alignment for any socket address.
            let v4 = unsafe { &mut *std::ptr::from_mut(name).cast::<libc::sockaddr_in>() };
            v4.sin_family = libc::AF_INET as libc::sa_family_t;
            v4.sin_port = addr.port().to_be();
            v4.sin_addr.s_addr = u32::from(*addr.ip()).to_be();
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(addr) => {
            // SAFETY: the storage has room and alignment for any socket address.
            let v6 = unsafe { &mut *std::ptr::from_mut(name).cast::<libc::sockaddr_in6>() };
            v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            v6.sin6_port = addr.port().to_be();
            v6.sin6_flowinfo = addr.flowinfo();
            v6.sin6_addr.s6_addr = addr.ip().octets();
            v6.sin6_scope_id = addr.scope_id();
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// Readiness of many sockets, each under a number of the caller's.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor that comes back is ours alone.
        let fd = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Epoll { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; 256] })
    }

    /// Watches for reading, level-triggered. Closing the descriptor ends it.
    pub fn add(&self, socket: &impl AsRawFd, token: impl Into<u64>) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token.into() };
        // SAFETY: both descriptors are open, the event lives through the call.
        let done = unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket.as_raw_fd(),
                &raw mut event,
            )
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until something is readable, `None` for ever; appends the tokens to `ready`.
    pub fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        // Rounded up: waking a fraction early would spin until the deadline.
        let millis = timeout
            .map_or(-1, |t| i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
        // SAFETY: the buffer has room for as many events as we say.
        let count = unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                millis,
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            };
        }
        ready.extend(self.events.iter().take(count as usize).map(|event| event.u64));
        Ok(())
    }
}

/// Wakes a worker from another thread.
pub struct Waker {
    fd: OwnedFd,
}

impl Waker {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor that comes back is ours alone.
        let fd = unsafe {
            let fd = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Waker { fd })
    }

    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight readable bytes. A full counter fails, and then it is set anyway.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes the waker quiet again.
    pub fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: eight writable bytes.
        unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// Sleeps for `time` or until somebody wakes us: a tick that lets packets gather.
    pub fn sleep(&self, time: Duration) {
        let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let time = libc::timespec {
            tv_sec: time.as_secs() as libc::time_t,
            tv_nsec: time.subsec_nanos() as libc::c_long,
        };
        // SAFETY: one pollfd and a timespec that live through the call; no signal mask.
        unsafe { libc::ppoll(&raw mut poll, 1, &raw const time, std::ptr::null()) };
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(address: &str) -> (UdpSocket, UdpSocket) {
        let address: SocketAddr = address.parse().unwrap();
        (bind(address, None).unwrap(), bind(address, None).unwrap())
    }

    fn recv_all(batch: &mut RecvBatch, socket: &UdpSocket, epoll: &mut Epoll, want: usize) {
        let mut got = 0;
        while got < want {
            let mut ready = Vec::new();
            epoll.wait(Some(Duration::from_secs(10)), &mut ready).unwrap();
            assert_eq!(ready, [7], "nothing came");
            let count = batch.recv(socket).unwrap();
            for i in 0..count {
                let datagram = batch.get(i).unwrap();
                assert_eq!(datagram.data, [(got % 251) as u8; 172]);
                got += 1;
            }
        }
        assert_eq!(batch.recv(socket).unwrap(), 0);
    }

    #[test]
    fn a_batch_arrives_whole_and_in_order() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (a, b) = pair(address);
            let mut send = SendBatch::default();
            for i in 0..100usize {
                send.push(b.local_addr().unwrap(), &[(i % 251) as u8; 172]);
            }
            assert_eq!(send.flush(&a), 0);
            assert_eq!(send.flush(&a), 0);
            let mut epoll = Epoll::new().unwrap();
            epoll.add(&b, 7u64).unwrap();
            recv_all(&mut RecvBatch::new(), &b, &mut epoll, 100);
        }
    }

    #[test]
    fn a_datagram_too_long_for_the_network_is_given_up_alone() {
        let (a, b) = pair("127.0.0.1:0");
        let mut send = SendBatch::default();
        send.push(b.local_addr().unwrap(), &vec![0; 70_000]);
        send.push(b.local_addr().unwrap(), &[0; 172]);
        assert_eq!(send.flush(&a), 1);
        let mut epoll = Epoll::new().unwrap();
        epoll.add(&b, 7u64).unwrap();
        recv_all(&mut RecvBatch::new(), &b, &mut epoll, 1);
    }

    #[test]
    fn a_longer_datagram_is_marked_as_cut() {
        let (a, b) = pair("127.0.0.1:0");
        a.send_to(&[1; DATAGRAM + 1], b.local_addr().unwrap()).unwrap();
        let mut epoll = Epoll::new().unwrap();
        epoll.add(&b, 7u64).unwrap();
        epoll.wait(Some(Duration::from_secs(10)), &mut Vec::new()).unwrap();
        let mut batch = RecvBatch::new();
        assert_eq!(batch.recv(&b).unwrap(), 1);
        assert!(batch.get(0).unwrap().cut);
        assert!(batch.get(1).is_none());
    }

    #[test]
    fn the_descriptor_limit_is_the_highest_allowed() {
        let limit = || {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: one rlimit that lives through the call.
            assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
            limit
        };
        // What a shell gives, and enough for the tests beside this one.
        let low = libc::rlimit { rlim_cur: limit().rlim_max.min(1024), ..limit() };
        // SAFETY: the same.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const low) }, 0);
        assert_eq!(raise_descriptor_limit().unwrap(), limit().rlim_max);
        assert_eq!(limit().rlim_cur, limit().rlim_max);
    }

    #[test]
    fn a_waker_is_heard_until_it_is_cleared() {
        let waker = Waker::new().unwrap();
        let mut epoll = Epoll::new().unwrap();
        epoll.add(&waker, 3u64).unwrap();
        waker.wake();
        let mut ready = Vec::new();
        epoll.wait(Some(Duration::from_secs(10)), &mut ready).unwrap();
        assert_eq!(ready, [3]);
        waker.sleep(Duration::from_secs(10));
        waker.clear();
        ready.clear();
        epoll.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert!(ready.is_empty());
    }
}
