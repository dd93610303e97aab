//! One connection, never waited for.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use super::frame::FrameReader;

/// Bytes that the kernel keeps besides those on their way: 0.2 s of G.711. More would be a delay that
/// lasts for the rest of the call.
const UNSENT: u32 = 2048;

/// DSCP 46, where it stands in the header's byte (RFC 4594 4.1).
const EXPEDITED: u32 = 46 << 2;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Sent,
    /// It has begun to leave; the rest does with [`Connection::flush`].
    Begun,
    /// There was no room: it is lost, as on any network.
    Dropped,
    Closed,
}

/// A connection of a browser's.
pub struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    reader: FrameReader,
    /// What is left of a frame that has begun to leave.
    rest: Vec<u8>,
}

impl Connection {
    /// Takes what `accept` gave.
    ///
    /// # Errors
    /// The socket cannot be set not to block; the rest are only wishes.
    pub fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let socket = socket2::SockRef::from(&stream);
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_notsent_lowat(UNSENT);
        let _ = socket.set_tos_v4(EXPEDITED);
        let _ = socket.set_tclass_v6(EXPEDITED);
        Ok(Connection { stream, peer, reader: FrameReader::new(), rest: Vec::new() })
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Reads once what there is; false when there was nothing.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn receive(&mut self) -> io::Result<bool> {
        let space = self.reader.space();
        match self.stream.read(space) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.reader.filled(count);
                Ok(true)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// The frames of what was received.
    pub fn reader(&mut self) -> &mut FrameReader {
        &mut self.reader
    }

    pub fn send(&mut self, frame: &[u8]) -> Delivery {
        let Ok(len) = u16::try_from(frame.len()) else { return Delivery::Dropped };
        match self.flush() {
            Ok(true) => {}
            Ok(false) => return Delivery::Dropped,
            Err(_) => return Delivery::Closed,
        }
        let prefix = len.to_be_bytes();
        let both = [IoSlice::new(&prefix), IoSlice::new(frame)];
        match self.stream.write_vectored(&both) {
            Ok(sent) if sent == prefix.len() + frame.len() => Delivery::Sent,
            Ok(0) => Delivery::Dropped,
            Ok(sent) => {
                let left = prefix.iter().chain(frame).skip(sent);
                self.rest.extend(left);
                Delivery::Begun
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Delivery::Dropped,
                _ => Delivery::Closed,
            },
        }
    }

    /// Sends the rest of the frame that has begun; true when all of it has left.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn flush(&mut self) -> io::Result<bool> {
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(sent) => drop(self.rest.drain(..sent)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(false),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(true)
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A reader that stops: frames are dropped whole, and what gets through is in step.
    #[test]
    fn a_full_connection_drops_whole_frames_and_never_blocks() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        let mut near = Connection::new(stream, peer).unwrap();
        let (mut sent, mut dropped) = (Vec::new(), 0);
        for n in 0..200_000u32 {
            let frame: Vec<u8> = n.to_be_bytes().repeat(300);
            match near.send(&frame) {
                Delivery::Sent | Delivery::Begun => sent.push(n),
                Delivery::Dropped => dropped += 1,
                Delivery::Closed => panic!("closed"),
            }
            if dropped > 1000 {
                break;
            }
        }
        assert!(dropped > 1000, "it never got full");
        let mut reader = FrameReader::new();
        let mut came = Vec::new();
        while came.len() < sent.len() {
            near.flush().unwrap();
            let count = far.read(reader.space()).unwrap();
            reader.filled(count);
            while let Some(frame) = reader.next_frame().unwrap() {
                let number = u32::from_be_bytes(frame[..4].try_into().unwrap());
                assert_eq!(frame, number.to_be_bytes().repeat(300));
                came.push(number);
            }
        }
        assert_eq!(came, sent);
        drop(far);
        assert!(matches!(near.send(b"x"), Delivery::Sent | Delivery::Closed));
        while near.receive().is_ok() {}
    }
}
