//! From two looks at the gateway to the events between them. Pure.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use bytes::Bytes;
use serde::Serialize;

use crate::agent::{
    AgentStatus, Alert, CallStatus, HistoryItem, Operations, SipServerStatus, Totals, TracedDn,
};

/// Shorter lists are told whole.
const LONG: usize = 32;

/// What is told of the gateway.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct View {
    agents: Vec<AgentStatus>,
    servers: Vec<SipServerStatus>,
    calls: Vec<CallStatus>,
    alerts: Vec<Alert>,
    traces: Vec<TracedDn>,
    totals: Totals,
}

impl View {
    pub fn of(operations: &dyn Operations) -> Self {
        View {
            agents: operations.agents(),
            servers: operations.servers(),
            calls: operations.calls(),
            alerts: operations.alerts(),
            traces: operations.traced(),
            totals: operations.totals(),
        }
    }
}

#[derive(Serialize)]
struct Snapshot<'a> {
    #[serde(flatten)]
    view: &'a View,
    history: &'a [HistoryItem],
    version: &'static str,
}

/// The elements of a list that are new or differ, and what names those that are gone.
#[derive(Serialize)]
struct Difference<'a, T, K> {
    changed: Vec<&'a T>,
    gone: Vec<K>,
}

#[derive(Serialize, PartialEq, Eq, Hash, Clone, Copy)]
struct AgentKey<'a> {
    dn: &'a str,
    guest: bool,
}

pub(super) fn event(name: &str, data: &impl Serialize) -> Bytes {
    // JSON as it is written here has no line feed in it.
    let data = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

pub(super) fn snapshot(view: &View, history: &[HistoryItem]) -> Bytes {
    let version = env!("CARGO_PKG_VERSION");
    event("snapshot", &Snapshot { view, history, version })
}

/// Takes somebody who knows `old` to `new`.
pub(super) fn changes(old: &View, new: &View) -> Vec<Bytes> {
    let mut events = Vec::new();
    events.extend(list(("agents", "agent"), &old.agents, &new.agents, |agent| AgentKey {
        dn: &agent.dn,
        guest: agent.guest,
    }));
    if old.servers != new.servers {
        events.push(event("servers", &new.servers));
    }
    events.extend(list(("calls", "call"), &old.calls, &new.calls, |call| call.call_id.as_str()));
    if old.alerts != new.alerts {
        events.push(event("alerts", &new.alerts));
    }
    if old.traces != new.traces {
        events.push(event("traces", &new.traces));
    }
    if old.totals != new.totals {
        events.push(event("totals", &new.totals));
    }
    events
}

fn list<'a, T: PartialEq + Serialize, K: Hash + Eq + Copy + Serialize>(
    (whole, difference): (&str, &str),
    old: &'a [T],
    new: &'a [T],
    key: impl Fn(&'a T) -> K,
) -> Option<Bytes> {
    if old == new {
        return None;
    }
    if new.len() <= LONG {
        return Some(event(whole, &new));
    }
    let before: HashMap<K, &T> = old.iter().map(|element| (key(element), element)).collect();
    let now: HashSet<K> = new.iter().map(&key).collect();
    let differs = |element: &'a T| before.get(&key(element)).is_none_or(|old| *old != element);
    let changed: Vec<&'a T> = new.iter().filter(|element| differs(element)).collect();
    let gone: Vec<K> = old.iter().map(&key).filter(|key| !now.contains(key)).collect();
    if (changed.len() + gone.len()) * 2 >= new.len() {
        return Some(event(whole, &new));
    }
    Some(event(difference, &Difference { changed, gone }))
}
