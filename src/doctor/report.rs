//! What was found, as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::words::counted_len;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    Ok,
    /// Worth knowing, nothing to do.
    Note,
    /// It works, though not for everybody or not for ever.
    Warn,
    /// Calls will fail.
    Fail,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Mark::Ok => "ok",
            Mark::Note => "note",
            Mark::Warn => "warn",
            Mark::Fail => "FAIL",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Mark::Ok => "\x1b[32m",
            Mark::Note => "\x1b[36m",
            Mark::Warn => "\x1b[33m",
            Mark::Fail => "\x1b[31;1m",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub area: &'static str,
    pub mark: Mark,
    pub text: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// One hole that the firewall has to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opening {
    pub protocol: &'static str,
    /// `8086` or `30000-30003`.
    pub ports: String,
    /// Who begins.
    pub from: String,
    pub what: &'static str,
    pub key: &'static str,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// A gateway that runs on this host with this configuration.
    pub running: Option<String>,
    pub findings: Vec<Finding>,
    pub firewall: Vec<Opening>,
}

impl Report {
    fn put(&mut self, area: &'static str, mark: Mark, text: String, advice: Option<String>) {
        self.findings.push(Finding { area, mark, text, advice });
    }

    pub fn ok(&mut self, area: &'static str, text: impl Into<String>) {
        self.put(area, Mark::Ok, text.into(), None);
    }

    pub fn note(&mut self, area: &'static str, text: impl Into<String>) {
        self.put(area, Mark::Note, text.into(), None);
    }

    pub fn warn(&mut self, area: &'static str, text: impl Into<String>, advice: impl Into<String>) {
        self.put(area, Mark::Warn, text.into(), Some(advice.into()));
    }

    pub fn fail(&mut self, area: &'static str, text: impl Into<String>, advice: impl Into<String>) {
        self.put(area, Mark::Fail, text.into(), Some(advice.into()));
    }

    fn count(&self, mark: Mark) -> usize {
        self.findings.iter().filter(|finding| finding.mark == mark).count()
    }

    /// 0: all is well; 1: there are warnings; 2: something fails.
    pub fn exit_code(&self) -> u8 {
        match (self.count(Mark::Fail), self.count(Mark::Warn)) {
            (0, 0) => 0,
            (0, _) => 1,
            _ => 2,
        }
    }

    /// For programs.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// For people. Without colour it says the same.
    pub fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        if let Some(running) = &self.running {
            let _ = writeln!(text, "{running}\n");
        }
        let mut area = "";
        for finding in &self.findings {
            if finding.area != area {
                area = finding.area;
                let _ = writeln!(text, "{area}");
            }
            let (on, off) = if colour { (finding.mark.colour(), "\x1b[0m") } else { ("", "") };
            let _ = writeln!(text, "  {on}{:<4}{off}  {}", finding.mark.word(), finding.text);
            if let Some(advice) = &finding.advice {
                let _ = writeln!(text, "        -> {advice}");
            }
        }
        let _ = writeln!(text, "\nfirewall: what has to be let in (answers go back the same way)");
        for row in &self.firewall {
            let _ = writeln!(
                text,
                "  {:<4} {:<12} from {:<28} {} ({})",
                row.protocol, row.ports, row.from, row.what, row.key
            );
        }
        let [oks, notes, warns, fails] =
            [Mark::Ok, Mark::Note, Mark::Warn, Mark::Fail].map(|mark| self.count(mark));
        let _ = writeln!(
            text,
            "\n{oks} ok, {}, {}, {}",
            counted_len(notes, "note"),
            counted_len(warns, "warning"),
            counted_len(fails, "failure")
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides() {
        let mut report = Report::default();
        assert_eq!(report.exit_code(), 0);
        report.ok("a", "fine");
        report.note("a", "by the way");
        assert_eq!(report.exit_code(), 0);
        report.warn("b", "hm", "look");
        assert_eq!(report.exit_code(), 1);
        report.fail("b", "no", "mend it");
        assert_eq!(report.exit_code(), 2);
        let plain = report.text(false);
        assert!(!plain.contains('\x1b') && report.text(true).contains('\x1b'));
        assert!(plain.contains("  FAIL  no\n        -> mend it\n"), "{plain}");
        assert!(plain.ends_with("1 ok, 1 note, 1 warning, 1 failure\n"), "{plain}");
        assert!(report.json().contains("\"mark\": \"fail\""));
    }
}
