//! `wrtc-gateway healthcheck`: 0 for a 200, else 1 and the reason.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::thread;

/// A server for one connection: the path that was asked, once `answer` has been given.
fn server(answer: &'static [u8]) -> (SocketAddr, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut chunk = [0; 256];
        while !request.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut chunk).unwrap();
            assert_ne!(read, 0, "the request ends with an empty line");
            request.extend_from_slice(&chunk[..read]);
        }
        stream.write_all(answer).unwrap();
        if answer.is_empty() {
            // Silent until the other end has had enough.
            let _ = stream.read(&mut chunk);
        }
        let line = String::from_utf8(request).unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    });
    (address, served)
}

fn ask(listen: &str, more: &[&str]) -> (Output, String) {
    let listen = format!("http.listen={listen}");
    let output = Command::new(env!("CARGO_BIN_EXE_wrtc-gateway"))
        .args(["healthcheck", "--set", "sip.servers=sip:pbx", "--set", &listen])
        .args(more)
        .env_clear()
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, told)
}

#[test]
fn alive_and_ready() {
    for (more, path) in [
        (&[][..], "/livez"),
        (&["--ready"][..], "/readyz"),
        (&["--set", "http.base_path=/phones"][..], "/phones/livez"),
    ] {
        let (address, served) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        // A gateway that listens everywhere is asked over loopback.
        let (output, told) = ask(&format!("0.0.0.0:{}", address.port()), more);
        assert!(output.status.success(), "{told}");
        assert_eq!(served.join().unwrap(), path);
    }
}

#[test]
fn not_well() {
    for (answer, reason) in [
        (&b"HTTP/1.1 503 Service Unavailable\r\n\r\n"[..], "answers 503"),
        (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 76\r\n\r\n\
              {\"status\":\"not_ready\",\"reasons\":[{\"code\":\"draining\",\"text\":\"it drains\"}]}",
            "answers 503: it drains",
        ),
        (b"220 mail.example ESMTP\r\n", "does not speak HTTP"),
        (b"", "has not answered"),
    ] {
        let (address, served) = server(answer);
        let (output, told) = ask(&address.to_string(), &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(told.contains(reason), "{reason} in {told}");
        served.join().unwrap();
    }
}

#[test]
fn nobody_there() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    drop(taken);
    let (output, told) = ask(&address, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("no connection"), "{told}");
    let (output, told) = ask("127.0.0.1:0", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("http.listen"), "{told}");
}
