//! The numbers of the lab.

use super::config::LabConfig;

/// What answers under a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// `600`: answers and sends everything back.
    Echo,
    /// `601`: answers and plays 1 kHz.
    Tone,
    /// `602`: rings for as long as the caller has patience.
    RingsOnly,
    /// `603`: 486.
    Busy,
    /// `604`: echoes, and calls back when the caller has hung up.
    CallsBack,
    /// `1003`: rings a second, answers by itself, echoes.
    AnswersLate,
}

/// Where a number leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    Extension(Extension),
    /// A DN of ours, registered or not.
    Dn,
    Unknown,
}

pub fn destination(config: &LabConfig, number: &str) -> Destination {
    let extension = match number {
        "600" => Extension::Echo,
        "601" => Extension::Tone,
        "602" => Extension::RingsOnly,
        "603" => Extension::Busy,
        "604" => Extension::CallsBack,
        "1003" => Extension::AnswersLate,
        _ if config.is_dn(number) => return Destination::Dn,
        _ => return Destination::Unknown,
    };
    Destination::Extension(extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn numbers_lead_where_they_should() {
        let config = LabConfig::new(Secret::new("x"));
        for (number, expected) in [
            ("600", Destination::Extension(Extension::Echo)),
            ("1003", Destination::Extension(Extension::AnswersLate)),
            ("5001", Destination::Dn),
            ("5020", Destination::Dn),
            ("5021", Destination::Unknown),
            ("05001", Destination::Unknown),
            ("+5001", Destination::Unknown),
            ("", Destination::Unknown),
            ("99999999999999", Destination::Unknown),
        ] {
            assert_eq!(destination(&config, number), expected, "{number}");
        }
    }
}
