//! A finished call as rows, and back.

use std::borrow::Cow;

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::StoreError;
use crate::journal::{CallRecord, FinishedCall, LegRecord, Timeline};

/// Deflate's usual compromise.
const LEVEL: u8 = 6;

/// What a timeline may grow to when it is read: a row of a damaged file must not take all memory.
const MAX_TIMELINE: usize = 64 * 1024 * 1024;

/// A call, ready to be written.
#[derive(Debug)]
pub(super) struct Encoded {
    record: CallRecord,
    json: String,
    timeline: Vec<u8>,
}

impl Encoded {
    pub(super) fn new(call: &FinishedCall, bodies: bool) -> Result<Self, serde_json::Error> {
        let timeline = match bodies {
            true => Cow::Borrowed(&call.timeline),
            false => Cow::Owned(without_bodies(&call.timeline)),
        };
        Ok(Self {
            json: serde_json::to_string(&call.record)?,
            timeline: compress_to_vec(&serde_json::to_vec(timeline.as_ref())?, LEVEL),
            record: call.record.clone(),
        })
    }

    /// Bytes that it takes, here and about as many in the file.
    pub(super) fn size(&self) -> usize {
        self.json.len() + self.timeline.len() + size_of::<Self>()
    }
}

/// The statements of a batch.
pub(super) struct Inserts<'c> {
    connection: &'c Connection,
    calls: Statement<'c>,
    details: Statement<'c>,
    sip_ids: Statement<'c>,
}

impl<'c> Inserts<'c> {
    pub(super) fn new(connection: &'c Connection) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            connection,
            calls: connection.prepare(
                "INSERT INTO calls (call, user, peer, peer_name, diverted_from, call_uuid, started, \
                     ended, ended_by, reason, mos, agent_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (call) DO NOTHING",
            )?,
            details: connection
                .prepare("INSERT INTO details (id, record, timeline) VALUES (?1, ?2, ?3)")?,
            sip_ids: connection
                .prepare("INSERT OR IGNORE INTO sip_ids (sip_call_id, id) VALUES (?1, ?2)")?,
        })
    }

    pub(super) fn insert(&mut self, row: &Encoded) -> Result<(), rusqlite::Error> {
        let record = &row.record;
        let new = self.calls.execute(params![
            record.call,
            record.user,
            record.peer,
            record.peer_name,
            record.diverted_from,
            record.call_uuid,
            signed(record.started),
            signed(record.ended),
            record.ended_by,
            record.reason,
            mos(record),
            record.agent_id,
        ])?;
        // Written before, by a batch whose end was not heard of.
        if new == 0 {
            return Ok(());
        }
        let id = self.connection.last_insert_rowid();
        self.details.execute(params![id, row.json, row.timeline])?;
        for sip_call_id in &record.sip_call_ids {
            self.sip_ids.execute(params![sip_call_id, id])?;
        }
        Ok(())
    }
}

/// The whole of one call, by our id of it, else by a SIP Call-ID, Genesys' CallUUID, the DN, or the
/// client's own id: the latest.
pub(super) fn find(connection: &Connection, id: &str) -> Result<Option<FinishedCall>, StoreError> {
    const ROWS: [&str; 5] = [
        "SELECT id FROM calls WHERE call = ?1",
        "SELECT max(id) FROM sip_ids WHERE sip_call_id = ?1",
        "SELECT max(id) FROM calls WHERE call_uuid = ?1",
        "SELECT id FROM calls WHERE user = ?1 ORDER BY started DESC LIMIT 1",
        "SELECT id FROM calls WHERE agent_id = ?1 ORDER BY started DESC LIMIT 1",
    ];
    for sql in ROWS {
        let row = connection.query_row(sql, [id], |row| row.get::<_, Option<i64>>(0)).optional()?;
        let Some(row) = row.flatten() else { continue };
        let found = connection
            .query_row("SELECT record, timeline FROM details WHERE id = ?1", [row], raw)
            .optional()?;
        return found.map(|(record, timeline)| decode(&record, &timeline)).transpose();
    }
    Ok(None)
}

fn raw(row: &Row<'_>) -> Result<(String, Vec<u8>), rusqlite::Error> {
    Ok((row.get(0)?, row.get(1)?))
}

fn decode(record: &str, timeline: &[u8]) -> Result<FinishedCall, StoreError> {
    let timeline = decompress_to_vec_with_limit(timeline, MAX_TIMELINE)
        .map_err(|error| StoreError::Row(error.to_string()))?;
    Ok(FinishedCall {
        record: serde_json::from_str(record).map_err(|error| StoreError::Row(error.to_string()))?,
        timeline: serde_json::from_slice(&timeline)
            .map_err(|error| StoreError::Row(error.to_string()))?,
    })
}

fn without_bodies(timeline: &Timeline) -> Timeline {
    let mut timeline = timeline.clone();
    for event in &mut timeline.events {
        event.body = None;
    }
    timeline
}

/// How the worst-heard direction of the call sounded, on average.
fn mos(record: &CallRecord) -> Option<f64> {
    let of_leg = |leg: &LegRecord| [leg.rx.mos, leg.tx.mos];
    [of_leg(&record.browser), of_leg(&record.sip)].into_iter().flatten().flatten().reduce(f64::min)
}

/// Milliseconds of the next 290 million years.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
