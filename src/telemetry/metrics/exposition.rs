//! The two text formats. prometheus-client writes OpenMetrics; the older one, which everything reads,
//! says the same in another order.

use std::fmt::Write as _;

/// How a scrape wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// OpenMetrics for who names it, as Prometheus does; weights are not looked at.
    pub fn wanted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Format::OpenMetrics,
            _ => Format::Prometheus,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// There a counter's family is called as its samples are, and units and the end go unsaid.
pub(super) fn to_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(about) = line.strip_prefix("# HELP ") {
            // It stands before the type, on which the name depends.
            help = about.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((family, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            let _ =
                write!(text, "# HELP {family}{suffix} {help}\n# TYPE {family}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format() {
        let open = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total{b=\"# HELP\"} 1.5\n# HELP g Now.\n# TYPE g gauge\ng 2\n\
                    # HELP build Ours.\n# TYPE build info\nbuild_info{version=\"1\"} 1\n# EOF\n";
        assert_eq!(
            to_prometheus(open),
            "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\n\
             a_seconds_total{b=\"# HELP\"} 1.5\n# HELP g Now.\n# TYPE g gauge\ng 2\n\
             # HELP build_info Ours.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n"
        );
    }

    #[test]
    fn who_gets_which() {
        // As Prometheus 2 asks.
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::wanted(Some(prometheus)), Format::OpenMetrics);
        assert_eq!(Format::wanted(Some("text/html, */*")), Format::Prometheus);
        assert_eq!(Format::wanted(None), Format::Prometheus);
    }
}
