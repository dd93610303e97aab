//! Batched receiving.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use super::BATCH;
use super::address::from_storage;

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
