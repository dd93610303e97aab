//! Sign-ins that come faster than the gateway is to try them.

use crate::support::{Gateway, PASSWORD, exchange, get, header};

fn sign_in(dn: &str) -> String {
    let body = format!("{dn}:{PASSWORD}");
    format!("POST /sign_in HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn strangers_wait_and_agents_come_back() {
    let gateway = Gateway::start(&["http.sign_ins_per_second=1"]).await;
    assert_eq!(exchange(gateway.address, &sign_in("5001")).await.unwrap().0, 200);
    let mut refused = None;
    for n in 0..1000 {
        let (status, head, _) =
            exchange(gateway.address, &get(&format!("/sign_in?60{n:02}"))).await.unwrap();
        if status == 429 {
            refused = Some(head);
            break;
        }
    }
    let head = refused.expect("a refusal");
    assert_eq!(header(&head, "retry-after"), Some("1"));
    // A place is kept for who has been here before.
    assert_eq!(exchange(gateway.address, &sign_in("5001")).await.unwrap().0, 200);
}
