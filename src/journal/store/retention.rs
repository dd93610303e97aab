//! What goes, so that the rest may stay: calls that are too old, then the oldest while the file is too
//! large. In steps of some milliseconds, so that nothing waits behind it.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::open::LOG_BYTES;
use super::reserve;
use super::rows::signed;

/// Calls in a step.
const CALLS: i64 = 200;

/// The same where the file is too large, so that no more go than have to, and on a full disk: each step has to
/// fit into what room its log has.
const FEW_CALLS: i64 = 20;

/// What a call may end ahead of the clock by, in milliseconds: a day. It goes by the wall's time when it
/// began, which may have been set since.
const FUTURE: u64 = 86_400_000;

/// Pages that a step gives back to the file system.
const PAGES: u32 = 1000;
const FEW_PAGES: u32 = 50;

/// Free pages that new calls may have: below it the file would shrink and grow all day.
const SLACK: u64 = 256;

/// What the log beside the file has at most, a batch besides, and what is kept for a full disk.
pub(super) const LOG: u64 = LOG_BYTES as u64 + 1_000_000 + reserve::BYTES;

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub keep: Duration,
    pub max_bytes: u64,
}

impl Limits {
    /// What the database may have, so that it and what is beside it have no more than they may together.
    pub(super) fn most(&self) -> u64 {
        self.max_bytes.saturating_sub(LOG)
    }
}

/// Between steps.
#[derive(Debug, Clone)]
pub(super) struct Retention {
    limits: Limits,
    /// It was too large, and goes down to some way below the limit.
    shrinking: bool,
    /// Calls went for want of room that were not too old.
    early: bool,
}

impl Retention {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, shrinking: false, early: false }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether calls went since it was asked last that were not too old.
    pub(super) fn take_early(&mut self) -> bool {
        std::mem::take(&mut self.early)
    }

    /// Whether a database of this size has to be looked at soon.
    pub(super) fn is_large(&self, bytes: u64) -> bool {
        bytes > self.limits.most()
    }

    /// One step, `now` in Unix milliseconds. Whether there is another one to do.
    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        now: u64,
    ) -> Result<bool, rusqlite::Error> {
        if self.delete(connection, now, CALLS)? {
            return Ok(true);
        }
        let pages = Pages::of(connection)?;
        if pages.free <= SLACK {
            return Ok(false);
        }
        give_back(connection, PAGES)?;
        if Pages::of(connection)?.free > SLACK {
            return Ok(true);
        }
        // What was given back lies in the log until then. Somebody who reads may delay it: no matter.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(false)
    }

    /// The same where the disk is full. What is deleted stays with the file, for the calls that wait; the log is
    /// not cut off, for its room would be somebody else's. Nothing is written unless there is something to do.
    pub(super) fn step_on_full_disk(
        &mut self,
        connection: &mut Connection,
        now: u64,
    ) -> Result<bool, rusqlite::Error> {
        // What lies in the log is written to the file, where that need not grow; then the log begins at its front
        // again, within the room that it has.
        let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
        let written = connection.query_row(checkpoint, [], |_| Ok(())).is_ok();
        if self.delete(connection, now, FEW_CALLS)? {
            return Ok(true);
        }
        // A file that is to become smaller need not grow.
        if !written && Pages::of(connection)?.free > 0 {
            give_back(connection, FEW_PAGES)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Calls that have to go, the too old ones first. Whether there were some.
    fn delete(
        &mut self,
        connection: &mut Connection,
        now: u64,
        most: i64,
    ) -> Result<bool, rusqlite::Error> {
        let age = u64::try_from(self.limits.keep.as_millis()).unwrap_or(u64::MAX);
        let before = now.saturating_sub(age);
        if delete(connection, |connection| too_old(connection, before, now, most))? > 0 {
            return Ok(true);
        }
        let limit = self.limits.most();
        let bound = if self.shrinking { limit - limit / 20 } else { limit };
        let too_much = Pages::of(connection)?.used() > bound;
        self.shrinking = too_much && delete(connection, first)? > 0;
        self.early |= self.shrinking;
        Ok(self.shrinking)
    }
}

/// Gives free pages back to the file system, so many at most. The statement has a row for each.
fn give_back(connection: &Connection, pages: u32) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// The first of the calls that had ended before. Calls stand in the order in which they ended: one that
/// comes after a call which is not too old is not too old itself, though a wrong clock dated it so; and
/// one from the future goes with those around it.
fn too_old(
    connection: &Connection,
    before: u64,
    now: u64,
    most: i64,
) -> Result<Vec<i64>, rusqlite::Error> {
    let (before, future) = (signed(before), signed(now.saturating_add(FUTURE)));
    let young = connection
        .query_row(
            "SELECT id FROM calls WHERE ended BETWEEN ?1 AND ?2 ORDER BY ended LIMIT 1",
            [before, future],
            |row| row.get(0),
        )
        .optional()?;
    // Without a call that is not too old there is nothing to go by but the dates.
    let (end, after) = match young {
        Some(young) => (young, future),
        None => (i64::MAX, i64::MAX),
    };
    let mut old = connection.prepare(
        "SELECT id FROM calls WHERE ended < ?1 AND id < ?2
         UNION ALL SELECT id FROM calls WHERE ended > ?3 AND id < ?2 LIMIT ?4",
    )?;
    let ids = old.query_map(params![before, end, after, most], |row| row.get(0))?;
    ids.collect()
}

/// The first of all.
fn first(connection: &Connection) -> Result<Vec<i64>, rusqlite::Error> {
    let mut first = connection.prepare("SELECT id FROM calls ORDER BY id LIMIT ?1")?;
    let ids = first.query_map([FEW_CALLS], |row| row.get(0))?;
    ids.collect()
}

/// Deletes these calls; how many they are.
fn delete(
    connection: &mut Connection,
    which: impl Fn(&Connection) -> Result<Vec<i64>, rusqlite::Error>,
) -> Result<usize, rusqlite::Error> {
    let transaction = connection.transaction()?;
    let ids = which(&transaction)?;
    if ids.is_empty() {
        return Ok(0);
    }
    for sql in [
        "DELETE FROM details WHERE id = ?1",
        "DELETE FROM sip_ids WHERE id = ?1",
        "DELETE FROM calls WHERE id = ?1",
    ] {
        let mut statement = transaction.prepare(sql)?;
        for id in &ids {
            statement.execute([id])?;
        }
    }
    transaction.commit()?;
    Ok(ids.len())
}

/// The database's pages, the log left out.
pub(super) struct Pages {
    size: u64,
    count: u64,
    free: u64,
}

impl Pages {
    pub(super) fn of(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let value = |name| {
            connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .map(|value| u64::try_from(value).unwrap_or_default())
        };
        Ok(Self {
            size: value("page_size")?,
            count: value("page_count")?,
            free: value("freelist_count")?,
        })
    }

    /// Bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.count * self.size
    }

    /// How many there may be in a file of so many bytes; never fewer than there are.
    pub(super) fn most(&self, bytes: u64) -> u64 {
        bytes.checked_div(self.size).unwrap_or_default().max(self.count)
    }

    fn used(&self) -> u64 {
        self.count.saturating_sub(self.free) * self.size
    }
}
