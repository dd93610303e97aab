//! Receiving, in batches and one by one.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use super::BATCH;
use super::address::{Control, from_storage, local_of};

/// The largest datagram taken: an Ethernet frame and some room. Longer ones are reported as cut.
pub const DATAGRAM: usize = 2048;

/// Room for what a batch of receives brought.
pub struct RecvBatch {
    buffers: Box<[[u8; DATAGRAM]]>,
    meta: Box<[Option<Meta>]>,
}

#[derive(Clone, Copy)]
struct Meta {
    from: SocketAddr,
    local: Option<IpAddr>,
    len: usize,
    cut: bool,
}

/// One datagram of a batch.
pub struct Received<'a> {
    pub from: SocketAddr,
    /// The address it came to, where the socket reports it ([`super::report_local`]).
    pub local: Option<IpAddr>,
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

    /// Receives up to [`BATCH`] datagrams without blocking; 0 when there are none. With fewer than
    /// [`BATCH`] the socket was empty, and need not be asked again.
    pub fn recv(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // Not cleared: that would cost more than the call saves.
        let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; BATCH];
        let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
        let mut controls = [const { MaybeUninit::<Control>::uninit() }; BATCH];
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
        let mut count = 0;
        for ((((header, vector), name), control), buffer) in headers
            .iter_mut()
            .zip(&mut vectors)
            .zip(&mut names)
            .zip(&mut controls)
            .zip(self.buffers.iter_mut())
        {
            let vector = vector
                .write(libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
            // SAFETY: all-zero bytes are a valid msghdr, of whose padding nobody knows the name.
            let mut inner: libc::msghdr = unsafe { mem::zeroed() };
            inner.msg_name = name.as_mut_ptr().cast();
            inner.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as u32;
            inner.msg_iov = vector;
            inner.msg_iovlen = 1;
            inner.msg_control = control.as_mut_ptr().cast();
            inner.msg_controllen = mem::size_of::<Control>() as _;
            header.write(libc::mmsghdr { msg_hdr: inner, msg_len: 0 });
            count += 1;
        }
        // SAFETY: `count` headers, each pointing at a name, a control buffer and one vector over a
        // whole buffer of ours; all of them outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                count,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if received < 0 {
            return nothing(0);
        }
        let received = (received as usize).min(BATCH);
        for ((meta, header), name) in self.meta.iter_mut().zip(&headers).zip(&names).take(received)
        {
            // SAFETY: initialised above, the kernel filled in the results; of the name as many
            // bytes as it says, of the control messages too.
            let (header, from, local) = unsafe {
                let header = header.assume_init_ref();
                let from = from_storage(name.as_ptr(), header.msg_hdr.msg_namelen as usize);
                (header, from, local_of(&header.msg_hdr))
            };
            *meta = from.map(|from| Meta {
                from,
                local,
                len: (header.msg_len as usize).min(DATAGRAM),
                cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
        Ok(received)
    }

    /// Receives one datagram: a quarter of a microsecond less than a batch of one. True when there
    /// was one, which is then the first of the batch.
    pub fn recv_one(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        let (Some(buffer), Some(meta)) = (self.buffers.first_mut(), self.meta.first_mut()) else {
            return Ok(false);
        };
        let mut name = MaybeUninit::<libc::sockaddr_storage>::uninit();
        let mut name_len = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // SAFETY: the buffer, the name and its length are ours and outlive the call.
        let len = unsafe {
            libc::recvfrom(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                // The length is the datagram's own, so that a cut one shows.
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                name.as_mut_ptr().cast(),
                &raw mut name_len,
            )
        };
        let Ok(len) = usize::try_from(len) else { return nothing(false) };
        // SAFETY: the kernel has written that many bytes of the name.
        let from = unsafe { from_storage(name.as_ptr(), name_len as usize) };
        *meta = from.map(|from| Meta {
            from,
            local: None,
            len: len.min(DATAGRAM),
            cut: len > DATAGRAM,
        });
        Ok(true)
    }

    /// The `index`th datagram of the last [`RecvBatch::recv`].
    pub fn get(&mut self, index: usize) -> Option<Received<'_>> {
        let meta = (*self.meta.get(index)?)?;
        let data = self.buffers.get_mut(index)?.get_mut(..meta.len)?;
        Some(Received { from: meta.from, local: meta.local, data, cut: meta.cut })
    }
}

/// `none`, when the last call failed only because there is nothing to receive.
fn nothing<T>(none: T) -> io::Result<T> {
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(none),
        _ => Err(error),
    }
}
