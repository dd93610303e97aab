use std::time::Duration;

use super::recv::DATAGRAM;
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
            send.push(b.local_addr().unwrap(), None, &[(i % 251) as u8; 172]);
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
    send.push(b.local_addr().unwrap(), None, &vec![0; 70_000]);
    send.push(b.local_addr().unwrap(), None, &[0; 172]);
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

/// On a host with several addresses, and one that has all of 127.0.0.0/8 is one: the answer comes
/// from the address that was asked.
#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    for (wildcard, asked, asker) in [
        ("0.0.0.0:0", "127.0.0.77", "127.0.0.1:0"),
        ("[::]:0", "::1", "[::1]:0"),
        ("[::]:0", "127.0.0.77", "127.0.0.1:0"),
    ] {
        let server = bind(wildcard.parse().unwrap(), None).unwrap();
        report_local(&server).unwrap();
        let client = UdpSocket::bind(asker).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let to = SocketAddr::new(asked.parse().unwrap(), server.local_addr().unwrap().port());
        client.send_to(&[7; 172], to).unwrap();
        let mut epoll = Epoll::new().unwrap();
        epoll.add(&server, 7u64).unwrap();
        epoll.wait(Some(Duration::from_secs(10)), &mut Vec::new()).unwrap();
        let mut batch = RecvBatch::new();
        assert_eq!(batch.recv(&server).unwrap(), 1);
        let datagram = batch.get(0).unwrap();
        assert_eq!(datagram.local.map(|ip| ip.to_canonical()), Some(to.ip()));
        let mut send = SendBatch::default();
        send.push(datagram.from, datagram.local, datagram.data);
        assert_eq!(send.flush(&server), 0);
        let mut buffer = [0; 200];
        assert_eq!(client.recv_from(&mut buffer).unwrap(), (172, to));
    }
}

#[test]
fn one_datagram_is_received_whole_or_marked_as_cut() {
    let (a, b) = pair("127.0.0.1:0");
    let to = b.local_addr().unwrap();
    let mut batch = RecvBatch::new();
    assert!(!batch.recv_one(&b).unwrap());
    a.send_to(&[1; 172], to).unwrap();
    a.send_to(&[2; DATAGRAM + 1], to).unwrap();
    let mut epoll = Epoll::new().unwrap();
    epoll.add(&b, 7u64).unwrap();
    for (len, cut) in [(172, false), (DATAGRAM, true)] {
        epoll.wait(Some(Duration::from_secs(10)), &mut Vec::new()).unwrap();
        assert!(batch.recv_one(&b).unwrap());
        let datagram = batch.get(0).unwrap();
        assert_eq!((datagram.data.len(), datagram.cut), (len, cut));
        assert_eq!(datagram.from, a.local_addr().unwrap());
    }
}

#[test]
fn a_connected_socket_hears_one_alone_and_everybody_again_afterwards() {
    let (stranger, friend) = pair("127.0.0.1:0");
    // By number, as the ports of calls are.
    let free = bind("127.0.0.1:0".parse().unwrap(), None).unwrap().local_addr().unwrap();
    let socket = bind(free, None).unwrap();
    let mut batch = RecvBatch::new();
    let mut epoll = Epoll::new().unwrap();
    epoll.add(&socket, 7u64).unwrap();
    let mut hears = |expected: &UdpSocket| {
        stranger.send_to(&[1], free).unwrap();
        friend.send_to(&[1], free).unwrap();
        epoll.wait(Some(Duration::from_secs(10)), &mut Vec::new()).unwrap();
        assert!(batch.recv_one(&socket).unwrap());
        assert_eq!(batch.get(0).unwrap().from, expected.local_addr().unwrap());
        while batch.recv_one(&socket).unwrap() {}
    };
    hears(&stranger);
    socket.connect(friend.local_addr().unwrap()).unwrap();
    hears(&friend);
    disconnect(&socket).unwrap();
    assert_eq!(socket.local_addr().unwrap(), free);
    hears(&stranger);
}
