//! Finished calls are found by what is known of them, page by page.

use wrtc_gateway::journal::store::{Search, Store};

use crate::made::{config, finished, ids, keep, now_ms, of_json, record};

/// Three calls, a second between their beginnings.
fn three() -> (Store, u64) {
    let store = Store::open(&config(None)).unwrap();
    let at = now_ms() - 100_000;
    let mut first = record("one", at);
    first.user = "5001".to_owned();
    first.peer = "+4930123456".to_owned();
    first.peer_name = Some("Åsa Berg".to_owned());
    first.ended_by = "browser".to_owned();
    let mut second = record("two", at + 1000);
    second.user = "5002".to_owned();
    second.diverted_from = Some("7000".to_owned());
    second.sip.rx.mos = Some(2.1);
    second.reason = "100% busy_here".to_owned();
    let mut third = record("three", at + 2000);
    third.answered = None;
    third.browser = Default::default();
    third.sip = Default::default();
    third.sip_call_ids.push("other-leg".to_owned());
    keep(&store, [first, second, third].map(finished));
    (store, at)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn by_everything_that_can_be_asked() {
    let (store, at) = three();
    let all = Search::default();
    for (search, found) in [
        (all.clone(), vec!["three", "two", "one"]),
        (Search { from: Some(at + 1000), ..all.clone() }, vec!["three", "two"]),
        (Search { to: Some(at + 1000), ..all.clone() }, vec!["one"]),
        (Search { from: Some(at + 1), to: Some(at + 2000), ..all.clone() }, vec!["two"]),
        (Search { user: some("5002"), ..all.clone() }, vec!["two"]),
        (Search { user: some("500"), ..all.clone() }, vec![]),
        (Search { agent_id: some("agent-two"), ..all.clone() }, vec!["two"]),
        (Search { text: some("agent-on"), ..all.clone() }, vec!["one"]),
        (Search { peer: some("600"), ..all.clone() }, vec!["three", "two"]),
        (Search { ended_by: some("browser"), ..all.clone() }, vec!["one"]),
        (Search { call_id: some("two"), ..all.clone() }, vec!["two"]),
        (Search { call_id: some("other-leg"), ..all.clone() }, vec!["three"]),
        (Search { call_id: some("three@192.0.2.1"), ..all.clone() }, vec!["three"]),
        (Search { call_uuid: some("UUID-one"), ..all.clone() }, vec!["one"]),
        (Search { max_mos: Some(3.0), ..all.clone() }, vec!["two"]),
        (Search { min_mos: Some(3.0), ..all.clone() }, vec!["one"]),
        (Search { text: some("4930"), ..all.clone() }, vec!["one"]),
        (Search { text: some("BERG"), ..all.clone() }, vec!["one"]),
        (Search { text: some("7000"), ..all.clone() }, vec!["two"]),
        (Search { text: some("other-leg"), ..all.clone() }, vec!["three"]),
        (Search { text: some("% busy_"), ..all.clone() }, vec!["two"]),
        // They mean themselves.
        (Search { text: some("%"), ..all.clone() }, vec!["two"]),
        (Search { text: some("_"), ..all.clone() }, vec!["two"]),
        (Search { text: some("\\"), ..all.clone() }, vec![]),
        (Search { text: some("' OR 1=1 --"), ..all.clone() }, vec![]),
        (Search { text: some("Normal"), user: some("5001"), ..all }, vec!["three", "one"]),
    ] {
        assert_eq!(ids(&store, &search), found, "{search:?}");
    }
}

#[test]
fn a_record_comes_as_it_was() {
    let store = Store::open(&config(None)).unwrap();
    let call = record("c1", now_ms());
    keep(&store, [finished(call.clone())]);
    let page = store.search(&Search::default(), 10).unwrap();
    assert_eq!(of_json(&page.records[0]), call);
}

/// Many calls begin in the same millisecond, and more come while somebody turns the pages.
#[test]
fn pages_neither_repeat_nor_leave_out() {
    let store = Store::open(&config(None)).unwrap();
    let at = now_ms() - 100_000;
    let call = |id: u64| finished(record(&format!("c{id}"), at + id / 10));
    keep(&store, (0..100).map(call));
    let mut search = Search::default();
    let mut seen = Vec::new();
    for turn in 0_u64.. {
        let page = store.search(&search, 7).unwrap();
        seen.extend(page.records.iter().map(|record| of_json(record).call));
        keep(&store, [call(1000 + turn)]);
        search.before = page.next;
        if page.next.is_none() {
            break;
        }
        assert_eq!(page.records.len(), 7);
    }
    let wanted: Vec<String> = (0..100).rev().map(|id| format!("c{id}")).collect();
    assert_eq!(seen, wanted);
}

#[test]
fn the_last_page_says_so_even_when_it_is_full() {
    let (store, _) = three();
    let page = store.search(&Search::default(), 3).unwrap();
    assert_eq!((page.records.len(), page.next), (3, None));
}
