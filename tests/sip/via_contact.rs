//! Via and Contact say by which transport we are reached.

use wrtc_gateway::sip::{Command, Hop, Transport};

use super::support::*;

#[test]
fn they_fit_the_transport_of_the_server() {
    for (transport, via, param) in [
        (Transport::Udp, "SIP/2.0/UDP 192.0.2.7:5080;branch=z9hG4bK", ">"),
        (Transport::Tcp, "SIP/2.0/TCP 192.0.2.7:5080;branch=z9hG4bK", ";transport=tcp>"),
        (Transport::Tls, "SIP/2.0/TLS 192.0.2.7:5080;branch=z9hG4bK", ";transport=tls>"),
    ] {
        let mut bench = Bench::new();
        let server = Hop::new(transport, addr(PEER).addr);
        bench.ua.set_server(server, "192.0.2.7:5080".parse().unwrap(), bench.now);
        bench.command(Command::Register);
        let (tx, request, to) = bench.request();
        assert_eq!(to, server);
        assert!(header(&request, "Via").unwrap().starts_with(via), "{request}");
        let contact = format!("<sip:5001@192.0.2.7:5080{param}");
        assert!(header(&request, "Contact").unwrap().starts_with(&contact), "{request}");

        // The registrar's list names ours, transport and all, among others.
        let others = "Contact: <sip:x@192.0.2.8>;expires=7\r\n";
        let ours = format!("{others}Contact: {contact};expires=90\r\n");
        bench.answer(tx, &request, "200 OK", &ours, "");
        let expires = std::time::Duration::from_secs(90);
        assert_eq!(bench.event(), wrtc_gateway::sip::Event::Registered { expires });
    }
}

#[test]
fn another_address_of_ours_is_registered_at_once() {
    let mut bench = Bench::new();
    bench.command(Command::Register);
    let (tx, request, server) = bench.request();
    bench.answer(tx, &request, "200 OK", "Expires: 90\r\n", "");
    bench.events();
    bench.ua.set_server(server, "192.0.2.77:5080".parse().unwrap(), bench.now);
    let (_, request, _) = bench.request();
    assert!(header(&request, "Contact").unwrap().contains("@192.0.2.77:5080>"));
}
