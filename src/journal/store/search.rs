//! Which finished calls somebody wants to see.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::StoreError;
use super::rows::signed;

/// Longer than any index takes, and as long as somebody waits before a screen.
const MOST_TIME: Duration = Duration::from_secs(5);

/// Steps of SQLite's machine between two looks at the clock: below a millisecond.
const STEPS: i32 = 10_000;

/// All of what is given has to be so.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Search {
    /// Began then or later, Unix milliseconds.
    pub from: Option<u64>,
    /// Began before, Unix milliseconds.
    pub to: Option<u64>,
    /// Somewhere in a number, a name, an id or the reason; capitals do not matter (ASCII).
    pub text: Option<String>,
    pub user: Option<String>,
    /// The client's own id in the raw-SDP dialect.
    pub agent_id: Option<String>,
    pub peer: Option<String>,
    /// Our own id or a SIP Call-ID.
    pub call_id: Option<String>,
    pub call_uuid: Option<String>,
    pub ended_by: Option<String>,
    /// The MOS of the direction that was heard worst, 1 to 4.5; a call without one is not found by it.
    pub min_mos: Option<f64>,
    pub max_mos: Option<f64>,
    /// Where the page before ended.
    pub before: Option<Cursor>,
}

/// A place in the order of calls, which is from the latest to the earliest beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    started: i64,
    id: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.started, self.id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no cursor of an earlier answer")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
        let (started, id) = text.split_once('-').ok_or(NotACursor)?;
        if !digits(started) || !digits(id) {
            return Err(NotACursor);
        }
        let number = |text: &str| text.parse().map_err(|_| NotACursor);
        Ok(Cursor { started: number(started)?, id: number(id)? })
    }
}

/// Some of what was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// A `CallRecord` each, as JSON, the latest call first.
    pub records: Vec<String>,
    /// Where the next page goes on; `None`: there is no more.
    pub next: Option<Cursor>,
}

impl Search {
    pub(super) fn run(
        &self,
        connection: &mut Connection,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (sql, values) = self.sql(limit.saturating_add(1));
        let deadline = Instant::now() + MOST_TIME;
        connection.progress_handler(STEPS, Some(move || Instant::now() > deadline))?;
        let page = page(connection, &sql, values, limit);
        connection.progress_handler(0, None::<fn() -> bool>)?;
        Ok(page?)
    }

    fn sql(&self, limit: usize) -> (String, Vec<Value>) {
        let mut terms = Terms::default();
        terms.add_some("c.started >= ?", self.from.map(signed));
        terms.add_some("c.started < ?", self.to.map(signed));
        terms.add_some("c.user = ?", self.user.clone());
        terms.add_some("c.agent_id = ?", self.agent_id.clone());
        terms.add_some("c.peer = ?", self.peer.clone());
        terms.add_some("c.call_uuid = ?", self.call_uuid.clone());
        terms.add_some("c.ended_by = ?", self.ended_by.clone());
        terms.add_some("c.mos >= ?", self.min_mos);
        terms.add_some("c.mos <= ?", self.max_mos);
        if let Some(id) = &self.call_id {
            terms.add(
                "c.id IN (SELECT id FROM calls WHERE call = ? UNION SELECT id FROM sip_ids WHERE sip_call_id = ?)",
                [id.clone().into(), id.clone().into()],
            );
        }
        if let Some(text) = &self.text {
            let pattern = Value::from(pattern(text));
            let columns = [
                "user",
                "agent_id",
                "peer",
                "peer_name",
                "diverted_from",
                "reason",
                "call",
                "call_uuid",
            ];
            let likes: Vec<String> =
                columns.iter().map(|column| format!("c.{column} LIKE ? ESCAPE '\\'")).collect();
            let ids = "c.id IN (SELECT id FROM sip_ids WHERE sip_call_id = ?)";
            let mut values = vec![pattern; columns.len()];
            values.push(text.clone().into());
            terms.add(&format!("({} OR {ids})", likes.join(" OR ")), values);
        }
        if let Some(before) = self.before {
            terms.add("(c.started, c.id) < (?, ?)", [before.started.into(), before.id.into()]);
        }
        let Terms { mut sql, mut values } = terms;
        sql = format!(
            "SELECT c.started, c.id, d.record FROM calls c JOIN details d ON d.id = c.id{sql} \
             ORDER BY c.started DESC, c.id DESC LIMIT ?"
        );
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        (sql, values)
    }
}

#[derive(Default)]
struct Terms {
    sql: String,
    values: Vec<Value>,
}

impl Terms {
    fn add(&mut self, term: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(if self.sql.is_empty() { " WHERE " } else { " AND " });
        self.sql.push_str(term);
        self.values.extend(values);
    }

    fn add_some(&mut self, term: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.add(term, [value.into()]);
        }
    }
}

/// Anything around the text, which means itself.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

fn page(
    connection: &Connection,
    sql: &str,
    values: Vec<Value>,
    limit: usize,
) -> Result<Page, rusqlite::Error> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = Page::default();
    let mut last = None;
    while let Some(row) = rows.next()? {
        if page.records.len() == limit {
            page.next = last;
            break;
        }
        last = Some(Cursor { started: row.get(0)?, id: row.get(1)? });
        page.records.push(row.get(2)?);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let cursor = Cursor { started: 1_790_000_000_000, id: 42 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in ["", "-", "1", "1-", "-1", "1--2", "+1-2", "1-2-3", "99999999999999999999-1"] {
            assert_eq!(bad.parse::<Cursor>(), Err(NotACursor), "{bad}");
        }
    }

    /// What is searched for often is found by an index, and comes in order without being sorted.
    #[test]
    fn indexes_are_used() {
        let connection = super::super::open::memory().unwrap();
        let plan = |search: &Search| {
            let (sql, values) = search.sql(10);
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement
                .query_map(params_from_iter(values), |row| row.get::<_, String>(3))
                .unwrap();
            rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
        };
        let of = |name: &str| Some(name.to_owned());
        for (search, index) in [
            (Search::default(), "calls_started"),
            (Search { from: Some(1), to: Some(2), ..Search::default() }, "calls_started"),
            (Search { user: of("5001"), ..Search::default() }, "calls_user"),
            (Search { agent_id: of("a1"), ..Search::default() }, "calls_agent_id"),
            (Search { user: of("5001"), from: Some(1), ..Search::default() }, "calls_user"),
            (Search { peer: of("600"), ..Search::default() }, "calls_peer"),
            (
                Search { before: Some(Cursor { started: 5, id: 5 }), ..Search::default() },
                "calls_started",
            ),
        ] {
            let plan = plan(&search);
            assert!(plan.contains(index), "{search:?}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{search:?}: {plan}");
        }
        let by_id = plan(&Search { call_id: of("c"), ..Search::default() });
        assert!(by_id.contains("sip_call_id=?"), "{by_id}");
        assert!(!by_id.contains("SCAN c"), "{by_id}");
    }
}
