//! What the kernel knows of a TCP connection. Linux only.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

/// How a connection stands, as far as a delivery is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TcpLook {
    pub peer: Peer,
    /// Bytes that the peer's kernel has not acknowledged, our FIN counting as one.
    pub unacknowledged: u32,
}

/// What the other end has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// Has not closed.
    Open,
    /// Has sent its FIN: closed in good order, as far as is known yet.
    Closed,
    /// No connection any more: reset by the peer, or given up by the kernel. (Also the end of a
    /// connection that both sides closed in good order.)
    Gone,
}

// Connection states of Linux' include/net/tcp_states.h; they are part of its ABI through TCP_INFO.
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;

/// Asks the kernel. The byte count is taken first: if it is nought and the state read after it is
/// not `Gone`, then everything was acknowledged and not reset at the time of the second call.
pub(super) fn look(socket: BorrowedFd<'_>) -> io::Result<TcpLook> {
    let mut unacknowledged: libc::c_int = 0;
    // SAFETY: the descriptor is open for the duration of the borrow; TIOCOUTQ (SIOCOUTQ, tcp(7))
    // writes one c_int through the pointer, which is valid for that.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unacknowledged) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }

    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open; the kernel writes at most `length` bytes into `info` and says
    // in `length` how many.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: tcp_info consists of integers only, and all of it was zeroed before.
    let info = unsafe { info.assume_init() };

    let peer = match info.tcpi_state {
        CLOSE => Peer::Gone,
        CLOSE_WAIT | LAST_ACK | CLOSING => Peer::Closed,
        _ => Peer::Open,
    };
    Ok(TcpLook { peer, unacknowledged: u32::try_from(unacknowledged).unwrap_or(u32::MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    /// Loopback is quick but not instantaneous.
    fn until(server: &TcpStream, wanted: Peer) -> TcpLook {
        for _ in 0..100_000 {
            let seen = look(server.as_fd()).unwrap();
            if seen.peer == wanted {
                return seen;
            }
            std::thread::yield_now();
        }
        panic!("never {wanted:?}, still {:?}", look(server.as_fd()));
    }

    #[test]
    fn reader_that_closes_is_closed_and_all_acknowledged() {
        let (mut server, mut client) = pair();
        server.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(look(server.as_fd()).unwrap().peer, Peer::Open);
        drop(client);
        assert_eq!(until(&server, Peer::Closed).unacknowledged, 0);
    }

    #[test]
    fn closing_with_unread_data_is_a_reset() {
        let (mut server, mut client) = pair();
        server.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 3]).unwrap();
        drop(client);
        until(&server, Peer::Gone);
    }

    #[test]
    fn data_after_the_close_is_answered_by_a_reset() {
        let (mut server, client) = pair();
        drop(client);
        until(&server, Peer::Closed);
        server.write_all(b"hello").unwrap();
        until(&server, Peer::Gone);
    }

    #[test]
    fn what_does_not_fit_the_peers_window_is_unacknowledged() {
        let (mut server, client) = pair();
        server.set_nonblocking(true).unwrap();
        while server.write(&[0; 65536]).is_ok() {}
        assert!(look(server.as_fd()).unwrap().unacknowledged > 0);
        drop(client);
    }
}
