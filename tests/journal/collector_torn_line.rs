//! A full disk has taken a part of a call record: the next one stands on a line of its own.

use wrtc_gateway::journal::{CallRecord, Collector, Observer, Target};

use crate::made::Dir;
use crate::support::*;

#[test]
fn a_record_after_a_torn_line_is_whole() {
    let dir = Dir::new();
    let path = dir.0.join("calls.jsonl");
    for (before, lines) in [("{\"call\":\"c0\",\"us", 2), ("{\"call\":\"c0\"}\n", 2), ("", 1)] {
        std::fs::write(&path, before).unwrap();
        let collector = Collector::start(Target::File(path.clone())).unwrap();
        collector.observe(&of_call(1, ended()));
        collector.finish();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), lines, "{text}");
        let last: CallRecord = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last.call, CALL);
    }
}
