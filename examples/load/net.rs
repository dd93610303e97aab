//! System calls that the standard library does not have. The only `unsafe` of the tool.
//!
//! Apart from the gateway's own: the floor is to be what the kernel takes, not what our module does.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Datagrams a system call, as in the gateway.
pub const BATCH: usize = 32;
const DATAGRAM: usize = 2048;
/// Room for one timestamp among the control messages.
const CONTROL: usize = 64;

/// Readiness of many sockets, level-triggered.
pub struct Poll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor that comes back is ours alone.
        let fd = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; 512] })
    }

    pub fn add(&self, socket: &UdpSocket, token: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token as u64 };
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

    /// Puts the tokens of what is readable into `ready`; true when there may be more.
    pub fn ready(&mut self, wait: Duration, ready: &mut Vec<usize>) -> bool {
        ready.clear();
        let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the buffer has room for as many events as we say.
        let count = unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                millis,
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        ready.extend(self.events.iter().take(count).map(|event| event.u64 as usize));
        count == self.events.len()
    }
}

/// What a batch of receives brought.
pub struct Inbox {
    headers: Vec<libc::mmsghdr>,
    buffers: Vec<[u8; DATAGRAM]>,
    names: Vec<libc::sockaddr_in>,
    controls: Vec<[u64; CONTROL / 8]>,
    vectors: Vec<libc::iovec>,
}

/// One datagram of it.
pub struct Arrived<'a> {
    pub data: &'a mut [u8],
    /// The sender's port.
    pub from: u16,
    /// When the kernel had it, in nanoseconds of [`clock`]; 0 unless [`stamp_arrivals`] was asked.
    pub at: u64,
}

impl Inbox {
    pub fn new() -> Self {
        // SAFETY: all-zero bytes are valid values of these C structures.
        let (header, name, vector) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            headers: vec![header; BATCH],
            buffers: vec![[0; DATAGRAM]; BATCH],
            names: vec![name; BATCH],
            controls: vec![[0; CONTROL / 8]; BATCH],
            vectors: vec![vector; BATCH],
        }
    }

    /// Receives up to `most` datagrams without blocking.
    pub fn receive(&mut self, socket: &UdpSocket, most: usize) -> usize {
        let most = most.min(BATCH);
        for n in 0..most {
            self.vectors[n] =
                libc::iovec { iov_base: self.buffers[n].as_mut_ptr().cast(), iov_len: DATAGRAM };
            let header = &mut self.headers[n].msg_hdr;
            header.msg_name = (&raw mut self.names[n]).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_in>() as u32;
            header.msg_iov = &raw mut self.vectors[n];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[n].as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
        }
        // SAFETY: `most` headers, each pointing at a name, a vector over a whole buffer and room for
        // control messages; all of them are ours and outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                most as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(received).unwrap_or(0)
    }

    /// The `n`th of the last [`Inbox::receive`].
    pub fn get(&mut self, n: usize) -> Arrived<'_> {
        let header = &self.headers[n];
        let at = arrival(&header.msg_hdr);
        let len = (header.msg_len as usize).min(DATAGRAM);
        let from = u16::from_be(self.names[n].sin_port);
        Arrived { data: &mut self.buffers[n][..len], from, at }
    }
}

fn arrival(header: &libc::msghdr) -> u64 {
    // SAFETY: the kernel filled in the control messages of this header, whose room is still there.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        if control.is_null() || (*control).cmsg_type != libc::SCM_TIMESTAMPNS {
            return 0;
        }
        let time = libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned();
        nanos(time)
    }
}

fn nanos(time: libc::timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Datagrams that wait to leave through one socket.
pub struct Outbox {
    bytes: Vec<u8>,
    entries: Vec<(u16, usize, usize)>,
    headers: Vec<libc::mmsghdr>,
    names: Vec<libc::sockaddr_in>,
    vectors: Vec<libc::iovec>,
}

impl Outbox {
    pub fn new() -> Self {
        // SAFETY: all-zero bytes are valid values of these C structures.
        let (header, name, vector) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            bytes: Vec::new(),
            entries: Vec::new(),
            headers: vec![header; BATCH],
            names: vec![name; BATCH],
            vectors: vec![vector; BATCH],
        }
    }

    /// To a port on loopback.
    pub fn push(&mut self, to: u16, data: &[u8]) {
        self.entries.push((to, self.bytes.len(), data.len()));
        self.bytes.extend_from_slice(data);
    }

    /// Sends all; what the kernel refuses is lost.
    pub fn flush(&mut self, socket: &UdpSocket) {
        for some in self.entries.chunks(BATCH) {
            for (n, (port, start, len)) in some.iter().enumerate() {
                let name = &mut self.names[n];
                name.sin_family = libc::AF_INET as libc::sa_family_t;
                name.sin_port = port.to_be();
                name.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
                let data = &self.bytes[*start..start + len];
                self.vectors[n] =
                    libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: *len };
                let header = &mut self.headers[n].msg_hdr;
                header.msg_name = (&raw mut *name).cast();
                header.msg_namelen = mem::size_of::<libc::sockaddr_in>() as u32;
                header.msg_iov = &raw mut self.vectors[n];
                header.msg_iovlen = 1;
            }
            // SAFETY: as many headers as `some` has were filled in; the kernel only reads.
            unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    some.len() as u32,
                    libc::MSG_DONTWAIT as _,
                )
            };
        }
        self.entries.clear();
        self.bytes.clear();
    }
}

/// Asks the kernel to note when each datagram came, so that our own lateness is in no latency.
pub fn stamp_arrivals(socket: &UdpSocket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is a C int that lives through the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            mem::size_of::<libc::c_int>() as u32,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The clock of the kernel's stamps, in nanoseconds.
pub fn clock() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: one timespec that lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    nanos(time)
}

/// Sleeps of this thread end within a microsecond instead of fifty.
pub fn sleep_precisely() {
    // SAFETY: takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1000 as libc::c_ulong) };
}

/// For threads that are not tokio's.
#[allow(clippy::disallowed_methods)]
pub fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// As many descriptors as this process may have; how many that is. Processes started later have as many.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: one rlimit that lives through both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) < 0 {
            return Err(io::Error::last_os_error());
        }
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// Keeps a process, with the threads it starts from now on, on one core; 0 is this process.
pub fn pin(process: u32, core: usize) -> io::Result<()> {
    // SAFETY: a set of our own, of the size we say.
    let done = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(
            process as libc::pid_t,
            mem::size_of::<libc::cpu_set_t>(),
            &raw const set,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A socket on any port of loopback, with room for a burst.
pub fn socket() -> io::Result<UdpSocket> {
    bind(0)
}

pub fn bind(port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub fn connect(socket: &UdpSocket, port: u16) -> io::Result<()> {
    socket.connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

pub fn port(socket: &UdpSocket) -> io::Result<u16> {
    Ok(socket.local_addr()?.port())
}
