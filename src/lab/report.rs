//! What is left of a call when it is over.

use std::fmt;

use serde::Serialize;

use super::meter::Heard;

/// Who set the call up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A telephone called a number of the lab, or another DN through it.
    FromPhone,
    /// The lab called a DN: the call-back of 604, or a test.
    FromLab,
}

/// Who ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// Whoever had called.
    Caller,
    /// Whoever was called.
    Callee,
    /// The lab itself, where it stands between two DNs.
    Lab,
    /// Nobody: a time-out or a transport error.
    Network,
}

/// How one end went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedEnd {
    pub by: Party,
    /// 200 for an ordinary BYE, 487 for CANCEL, otherwise the refusal.
    pub code: u16,
    pub text: String,
    /// The Reason header (RFC 3326) as it came.
    pub reason: Option<String>,
}

/// A finished call. `Display` is a line for people, [`CallReport::json`] one for programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallReport {
    /// Counts up from 1.
    pub call: u64,
    pub way: Way,
    /// What was dialled.
    pub number: String,
    /// The DN at the telephone that called, or for [`Way::FromLab`] the number shown to the DN.
    pub caller: String,
    pub call_id: String,
    /// From the INVITE to the answer or the end, seconds.
    pub ringing: f64,
    /// From the answer to the end, seconds; `None` when it was never answered.
    pub talked: Option<f64>,
    /// What the lab's telephone heard; `None` for DN to DN, whose media do not pass here.
    pub heard: Option<Heard>,
    /// RTP packets the lab's telephone sent.
    pub sent: Option<u64>,
    pub end: ReportedEnd,
}

impl CallReport {
    /// One line, without a line break in it.
    pub fn json(&self) -> String {
        // A structure of numbers and strings: there is nothing in it that cannot be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for CallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} <- {}: ", self.number, self.caller)?;
        match self.talked {
            Some(seconds) => write!(f, "{seconds:.1} s")?,
            None => write!(f, "not answered in {:.1} s", self.ringing)?,
        }
        match &self.heard {
            Some(heard) if self.talked.is_some() => write!(f, ", {heard}")?,
            Some(_) => {}
            None => write!(f, ", media from end to end")?,
        }
        let by = match self.end.by {
            Party::Caller => "caller",
            Party::Callee => "callee",
            Party::Lab => "lab",
            Party::Network => "network",
        };
        write!(f, ", ended by {by}: {} {}", self.end.code, self.end.text)?;
        if let Some(reason) = &self.end.reason {
            write!(f, " ({reason})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_as_a_sentence_and_as_json() {
        let mut report = CallReport {
            call: 3,
            way: Way::FromPhone,
            number: "600".into(),
            caller: "5001".into(),
            call_id: "a@b".into(),
            ringing: 0.1,
            talked: Some(12.34),
            heard: Some(Heard::default()),
            sent: Some(600),
            end: ReportedEnd { by: Party::Caller, code: 200, text: "BYE".into(), reason: None },
        };
        assert_eq!(
            report.to_string(),
            "call 600 <- 5001: 12.3 s, heard 0 packets, lost 0 (0.00 %), jitter 0.0 ms, \
             largest gap 0 ms, ended by caller: 200 BYE"
        );
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["number"], &json["heard"]["lost"]), (&"600".into(), &0.into()));
        assert_eq!((&json["way"], &json["end"]["by"]), (&"from_phone".into(), &"caller".into()));
        report.talked = None;
        report.heard = None;
        report.end.reason = Some("SIP;cause=486".into());
        assert_eq!(
            report.to_string(),
            "call 600 <- 5001: not answered in 0.1 s, media from end to end, \
             ended by caller: 200 BYE (SIP;cause=486)"
        );
    }
}
