//! `wrtc-gateway demo`: one command, an address, a password, and the curl script of the examples works.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::wrote::{self, Written};

struct Demo {
    child: Child,
    printed: BufReader<std::process::ChildStdout>,
    greeting: Vec<String>,
    _written: Written,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wrtc-gateway"));
        command.args(["demo", "--set", "http.listen=127.0.0.1:0"]).args(arguments).env_clear();
        let mut written = Written::by(&command);
        if wrote::is_kept() {
            command.args(["--set", wrote::log_level()]).stderr(Stdio::piped());
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        written.errors_of(&mut child);
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = Vec::new();
        while greeting.last().is_none_or(|line: &String| !line.starts_with("stop")) {
            let mut line = String::new();
            assert!(printed.read_line(&mut line).unwrap() > 0, "the demo ended: {greeting:?}");
            greeting.push(line);
        }
        Self { child, printed, greeting, _written: written }
    }

    /// The word behind a word of the greeting.
    fn told(&self, before: &str) -> String {
        let text = self.greeting.concat();
        let (_, after) = text.split_once(before).unwrap();
        after.split_whitespace().next().unwrap().to_owned()
    }

    /// Ctrl-C; gives what else was printed.
    fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.printed, &mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        // Its greeting is where the password is told.
        wrote::bytes("stdout", rest.as_bytes());
        rest
    }
}

impl Drop for Demo {
    /// After a failure too: what reads its output ends with it.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_walk_through_of_the_examples() {
    let demo = Demo::start(&["--password", "p:a&s%s+"]);
    let url = demo.told("open ");
    assert_eq!(demo.told("watch "), format!("{url}dashboard"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/curl/walkthrough.sh");
    let output = Command::new("bash")
        .arg(script)
        .args([url.trim_end_matches('/'), "p:a&s%s+"])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.starts_with("OK\nOK\nv=0\r\n"), "{printed}");
    assert!(printed.contains("m=audio ") && printed.contains("RTP/SAVPF 0\r\n"), "{printed}");
    let reports = demo.stop();
    assert!(reports.contains("call 1003 <- 5001"), "{reports}");
}

/// No call goes on: it is over at once.
#[test]
fn a_drain_ends_it() {
    let mut demo = Demo::start(&[]);
    let url = demo.told("open ");
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    let request = format!(
        "POST /api/drain HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = std::io::Read::read_to_string(&mut stream, &mut answer);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert!(demo.child.wait().unwrap().success());
}

#[test]
fn the_password_is_new_each_time() {
    let (one, two) = (Demo::start(&[]), Demo::start(&[]));
    let passwords = [one.told("password "), two.told("password ")];
    for password in &passwords {
        wrote::secret("a DN's password", password);
    }
    assert_ne!(passwords[0], passwords[1]);
    assert!(passwords[0].len() >= 10);
    one.stop();
    two.stop();
}

#[test]
fn the_contact_centre_has_a_console() {
    let demo = Demo::start(&["--contact-centre"]);
    let url = demo.told("centre ");
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let ask = |request: String| {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        answer
    };
    let get = |path: &str, host: &str| {
        ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    let page = get("/", &address);
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<h1>Contact centre</h1>"), "{page}");
    assert!(get("/api/cast", &address).contains("answered-in-wwe"));
    // A page of the web reaches it neither under a name of its own nor with a plain POST.
    assert!(get("/api/cast", "evil.example").starts_with("HTTP/1.1 403"));
    let post = |more: &str| {
        let body = r#"{"dn":"5001","number":"7001","name":null}"#;
        ask(format!(
            "POST /api/queue HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n{more}\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    assert!(post("").starts_with("HTTP/1.1 403"));
    let refused = post("X-Console: 1\r\n");
    assert!(refused.starts_with("HTTP/1.1 404") && refused.contains("not signed in"), "{refused}");
    demo.stop();
}

#[test]
fn the_console_is_for_this_machine_only() {
    let output = Command::new(env!("CARGO_BIN_EXE_wrtc-gateway"))
        .args(["demo", "--set", "http.listen=127.0.0.1:0", "--contact-centre=0.0.0.0:0"])
        .env_clear()
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("loopback"), "{told}");
}
