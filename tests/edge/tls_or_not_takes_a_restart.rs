//! A reload takes a new certificate up; whether there is one at all it cannot change, and says so.

use wrtc_gateway::config::{Config, Reload as _};

use crate::support::{File, Gateway};

fn config(sets: &[&str]) -> Config {
    let all = ["http.listen=127.0.0.1:0", "sip.servers=127.0.0.1"].iter().chain(sets);
    Config::load(None, [], &all.map(|&set| set.to_owned()).collect::<Vec<_>>()).unwrap()
}

#[tokio::test]
async fn neither_from_plain_to_tls_nor_back() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (File::new(&made.cert.pem()), File::new(&made.signing_key.serialize_pem()));
    let files = [cert.set("http.tls_cert"), key.set("http.tls_key")];
    let files = files.each_ref().map(String::as_str);
    let (plain, encrypted) = (config(&[]), config(&files));

    let gateway = Gateway::start(&[]).await;
    assert!(gateway.control.prepare(&plain).is_ok());
    let fault = gateway.control.prepare(&encrypted).err().expect("it is refused");
    assert!(fault.starts_with("http.tls_cert: ") && fault.contains("restart"), "{fault}");

    let gateway = Gateway::start(&files).await;
    assert!(gateway.control.prepare(&encrypted).is_ok());
    let fault = gateway.control.prepare(&plain).err().expect("it is refused");
    assert!(fault.starts_with("http.tls_cert: ") && fault.contains("restart"), "{fault}");

    let made_here = ["http.tls=self-signed"];
    let gateway = Gateway::start(&made_here).await;
    assert!(gateway.control.prepare(&config(&made_here)).is_ok(), "it has no file to name");
}
