//! One call's timeline as it is shown and kept: what happened, in the order in which it did.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// What happened in a call. Names are stable, fields are added only.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Timeline {
    /// By time.
    #[serde(rename = "timeline")]
    pub events: Vec<TimelineEvent>,
    /// One point in 5 s, fewer in a long call.
    pub quality: Vec<QualityPoint>,
    /// Events that there was no room for; those of the beginning are kept, and those of the end.
    pub left_out: u32,
}

/// One line of it, one arrow of the ladder where it has a direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimelineEvent {
    /// Unix milliseconds.
    pub at: u64,
    pub kind: Kind,
    /// As the gateway sees it; `None` for what it does or notices by itself.
    pub direction: Option<Way>,
    pub from: Option<Party>,
    pub to: Option<Party>,
    /// What a person reads: `INVITE sip:600@example`, `OFFER`, `established`.
    #[schema(value_type = String, example = "INVITE sip:600@example.org")]
    pub title: Box<str>,
    /// By kind. `sip`: `transport`, `local`, `peer` (addresses with ports), `call_id`, `method`, `code`.
    /// `http`: `waited_ms`, how long a message waited for a poll. The rest as its title asks for.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub detail: Details,
    /// The message itself, without its secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub body: Option<Box<str>>,
}

impl TimelineEvent {
    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        let body = self.body.as_deref().map_or(0, str::len);
        size_of::<Self>() + self.title.len() + self.detail.size() + body
    }
}

/// What sort of thing it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TimelineKind)]
pub enum Kind {
    Http,
    Sip,
    Ice,
    Dtls,
    Rtp,
    Hold,
    /// That digits were pressed; never which.
    Dtmf,
    State,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TimelineWay)]
pub enum Way {
    In,
    Out,
}

/// A column of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TimelineParty)]
pub enum Party {
    Browser,
    Gateway,
    Sip,
}

/// How a call sounded for some seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct QualityPoint {
    /// Unix milliseconds: the end of the interval.
    pub at: u64,
    pub browser: LegQuality,
    pub sip: LegQuality,
}

/// One side: `rx` as we hear it, `tx` as it reports to hear us.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct LegQuality {
    /// Milliseconds, the last that was measured.
    pub rtt_ms: Option<f32>,
    pub rx: StreamQuality,
    pub tx: StreamQuality,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct StreamQuality {
    /// 1 to 4.5 (G.107); `None` where too little was heard.
    pub mos: Option<f32>,
    /// 0 to 100, in the interval.
    pub loss_percent: f32,
    pub jitter_ms: f32,
    /// In the interval.
    pub packets: u32,
}

/// A few named values: a JSON object, in a third of the room that a map of them takes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Details(Vec<(Cow<'static, str>, Scalar)>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(Box<str>),
}

impl Details {
    pub fn with(mut self, name: &'static str, value: impl Into<Scalar>) -> Self {
        self.0.push((Cow::Borrowed(name), value.into()));
        self
    }

    /// Nothing where there is no value.
    pub fn with_some(self, name: &'static str, value: Option<impl Into<Scalar>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// In place of what stood under the name.
    pub fn set(&mut self, name: &'static str, value: impl Into<Scalar>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((Cow::Borrowed(name), value.into()));
    }

    /// Texts of a reasonable length: a header may have kilobytes.
    pub(super) fn cut(&mut self, most: usize) {
        for (_, value) in &mut self.0 {
            if let Scalar::Text(text) = value
                && text.len() > most
            {
                let mut end = most;
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                *text = text.get(..end).unwrap_or_default().into();
            }
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    pub fn get(&self, name: &str) -> Option<&Scalar> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Scalar)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Bytes on the heap.
    pub(super) fn size(&self) -> usize {
        let text = |value: &Scalar| match value {
            Scalar::Text(text) => text.len(),
            _ => 0,
        };
        let pair = size_of::<(Cow<'static, str>, Scalar)>();
        self.0.capacity() * pair + self.0.iter().map(|(_, value)| text(value)).sum::<usize>()
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Scalar::Bool(value)
    }
}

impl From<u64> for Scalar {
    fn from(value: u64) -> Self {
        Scalar::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<u16> for Scalar {
    fn from(value: u16) -> Self {
        Scalar::Integer(value.into())
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Scalar::Number(value)
    }
}

impl From<&str> for Scalar {
    fn from(value: &str) -> Self {
        Scalar::Text(value.into())
    }
}

impl From<String> for Scalar {
    fn from(value: String) -> Self {
        Scalar::Text(value.into())
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Details;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of plain values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Details, A::Error> {
                let mut details = Details::default();
                while let Some((name, value)) = map.next_entry::<String, Scalar>()? {
                    details.0.push((Cow::Owned(name), value));
                }
                Ok(details)
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters_and_nothing_else_is() {
        let mut details = Details::default()
            .with("long", "xxxxxxxx")
            .with("wide", "\u{e4}\u{e4}\u{e4}\u{e4}")
            .with("short", "xx")
            .with("code", 48_600_u64);
        let before = details.size();
        details.cut(5);
        let texts = ["long", "wide", "short"].map(|name| details.text(name).unwrap_or_default());
        assert_eq!(texts, ["xxxxx", "\u{e4}\u{e4}", "xx"]);
        assert_eq!(details.get("code"), Some(&Scalar::Integer(48_600)));
        assert_eq!(details.size(), before - 3 - 4);
    }

    #[test]
    fn an_event_comes_back_from_json_as_it_went() {
        let event = TimelineEvent {
            at: 1_790_000_000_123,
            kind: Kind::Sip,
            direction: Some(Way::Out),
            from: Some(Party::Gateway),
            to: Some(Party::Sip),
            title: "INVITE sip:600@example".into(),
            detail: Details::default()
                .with("transport", "udp")
                .with_some("code", None::<u16>)
                .with("waited_ms", 1.5)
                .with("port", 5060_u16)
                .with("tls", false),
            body: Some("INVITE".into()),
        };
        let json = serde_json::to_string(&event).unwrap();
        let shape = concat!(
            r#"{"at":1790000000123,"kind":"sip","direction":"out","from":"gateway","to":"sip","#,
            r#""title":"INVITE sip:600@example","detail":{"transport":"udp","waited_ms":1.5,"#,
            r#""port":5060,"tls":false},"body":"INVITE"}"#
        );
        assert_eq!(json, shape);
        assert_eq!(serde_json::from_str::<TimelineEvent>(&json).unwrap(), event);
    }
}
