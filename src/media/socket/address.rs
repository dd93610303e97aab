//! Socket addresses as the kernel has them.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for the control message that holds a local address, with the alignment it wants.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Control([u8; CONTROL]);

/// A header of 16 bytes and an in6_pktinfo of 20, rounded up.
const CONTROL: usize = 40;

/// The address of which the kernel wrote `len` bytes at `name`.
///
/// # Safety
/// `name` has room for a sockaddr_storage, of which the first `len` bytes are initialised.
pub unsafe fn from_storage(name: *const libc::sockaddr_storage, len: usize) -> Option<SocketAddr> {
    if len < mem::size_of::<libc::sockaddr_in>() {
        return None;
    }
    // SAFETY: the family lies within the bytes that were written.
    let family = i32::from(unsafe { (*name).ss_family });
    match family {
        libc::AF_INET => {
            // SAFETY: it is a sockaddr_in, whose bytes were all written.
            let v4 = unsafe { &*name.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 if len >= mem::size_of::<libc::sockaddr_in6>() => {
            // SAFETY: it is a sockaddr_in6, whose bytes were all written.
            let v6 = unsafe { &*name.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Writes the address to `name`; how many bytes.
///
/// # Safety
/// `name` has room for a sockaddr_storage; the bytes need not be initialised.
pub unsafe fn to_storage(addr: SocketAddr, name: *mut libc::sockaddr_storage) -> libc::socklen_t {
    match addr {
        SocketAddr::V4(addr) => {
            let v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: addr.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*addr.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: the storage has room and alignment for any socket address.
            unsafe { name.cast::<libc::sockaddr_in>().write(v4) };
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(addr) => {
            let v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: addr.port().to_be(),
                sin6_flowinfo: addr.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: addr.ip().octets() },
                sin6_scope_id: addr.scope_id(),
            };
            // SAFETY: the same.
            unsafe { name.cast::<libc::sockaddr_in6>().write(v6) };
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// The local address in the control messages of a datagram that was received.
///
/// # Safety
/// The kernel has filled in `header`, which points at `msg_controllen` bytes of control messages.
pub unsafe fn local_of(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the header is the kernel's, so its messages are well-formed.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: not null, and within the control bytes.
        let (level, kind) = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        if (level, kind) == (libc::IPPROTO_IP, libc::IP_PKTINFO) {
            // SAFETY: the data of such a message is an in_pktinfo, at whatever alignment.
            let info: libc::in_pktinfo =
                unsafe { libc::CMSG_DATA(message).cast::<libc::in_pktinfo>().read_unaligned() };
            return Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
        }
        if (level, kind) == (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) {
            // SAFETY: the data of such a message is an in6_pktinfo.
            let info: libc::in6_pktinfo =
                unsafe { libc::CMSG_DATA(message).cast::<libc::in6_pktinfo>().read_unaligned() };
            return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
        }
        // SAFETY: both are the kernel's.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}

/// Makes the datagram of `header` leave from the local address `from`, by a message in `control`.
///
/// # Safety
/// `control` outlives the use of `header`.
pub unsafe fn leave_from(from: IpAddr, header: &mut libc::msghdr, control: *mut Control) {
    // SAFETY: writable memory of ours; all of it is initialised before it is read.
    unsafe { control.write(Control([0; CONTROL])) };
    header.msg_control = control.cast();
    header.msg_controllen = CONTROL as _;
    // SAFETY: there is room for one header and the larger of the two addresses.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        let (level, kind, len) = match from {
            IpAddr::V4(ip) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(ip).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                libc::CMSG_DATA(message).cast::<libc::in_pktinfo>().write_unaligned(info);
                (libc::IPPROTO_IP, libc::IP_PKTINFO, mem::size_of_val(&info))
            }
            IpAddr::V6(ip) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                    ipi6_ifindex: 0,
                };
                libc::CMSG_DATA(message).cast::<libc::in6_pktinfo>().write_unaligned(info);
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, mem::size_of_val(&info))
            }
        };
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(len as u32) as _;
        header.msg_controllen = libc::CMSG_SPACE(len as u32) as _;
    }
}
