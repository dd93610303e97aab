//! A finished call is handed on once, with what was said after its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wrtc_gateway::journal::{
    CallRecord, FinishedCall, History, HistoryError, Keeper, LINGER, Timeline, Timelines,
};

use super::support::*;

fn timelines(shelf: &Arc<Shelf>) -> Timelines {
    Timelines::new(vec![Arc::clone(shelf) as Arc<dyn Keeper>], None)
}

#[test]
fn the_answer_to_the_good_bye_is_in_it() {
    let shelf = Arc::new(Shelf::default());
    let timelines = timelines(&shelf);
    tell(&timelines, [of_call(0, started()), of_call(0, leg("leg@h")), of_call(5, ended())]);
    timelines.sweep(Instant::now());
    assert!(shelf.0.lock().unwrap().is_empty(), "more may be said");
    tell(&timelines, [of_call(7, sip(true, "SIP/2.0 200 OK", "leg@h", "BYE"))]);
    timelines.sweep(Instant::now() + LINGER);
    timelines.sweep(Instant::now() + 2 * LINGER);
    let kept = shelf.0.lock().unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].record.call, CALL);
    assert_eq!(&*kept[0].timeline.events.last().unwrap().title, "200 OK (BYE)");
    for key in [CALL, "leg@h", "UUID1", DN] {
        assert_eq!(timelines.find(key).map(|view| view.state), Some("ended"), "{key}");
    }
    assert_eq!(timelines.sizes().0, 0);
}

#[test]
fn a_stop_hands_on_what_is_over() {
    let shelf = Arc::new(Shelf::default());
    let timelines = timelines(&shelf);
    tell(&timelines, [of_call(0, started())]);
    timelines.flush();
    assert!(shelf.0.lock().unwrap().is_empty(), "it goes on");
    tell(&timelines, [of_call(5, ended())]);
    timelines.flush();
    assert_eq!(shelf.0.lock().unwrap().len(), 1);
}

struct Archive;

impl History for Archive {
    fn find(&self, call: &str) -> Result<Option<FinishedCall>, HistoryError> {
        match call {
            "old" => {
                let record = CallRecord { call: "old".into(), ..CallRecord::default() };
                Ok(Some(FinishedCall { record, timeline: Timeline::default() }))
            }
            "broken" => Err(HistoryError("the disk".into())),
            _ => Ok(None),
        }
    }
}

#[test]
fn what_is_no_longer_in_memory_is_in_the_history() {
    let timelines = Timelines::new(Vec::new(), Some(Arc::new(Archive)));
    assert_eq!(timelines.find("old"), None);
    let view = timelines.find_kept("old").unwrap().unwrap();
    assert_eq!((view.state, view.record.call.as_str()), ("ended", "old"));
    assert!(timelines.find_kept("never").unwrap().is_none());
    assert!(timelines.find_kept("broken").is_err());
}

#[tokio::test]
async fn calls_are_handed_on_without_being_asked_for() {
    let shelf = Arc::new(Shelf::default());
    let timelines = Arc::new(timelines(&shelf));
    tell(&timelines, [of_call(0, started()), of_call(5, ended())]);
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(Arc::clone(&timelines).run(stop.clone()));
    let end = Instant::now() + Duration::from_secs(60);
    while shelf.0.lock().unwrap().is_empty() {
        assert!(Instant::now() < end, "nothing was handed on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.cancel();
    task.await.unwrap();
}
