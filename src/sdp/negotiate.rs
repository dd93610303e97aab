//! Choosing codecs and directions (RFC 3264 6 and 8).

use super::{Codec, Direction, PTIME, PayloadMap, Wishes};

/// Our side of an answer: the offer's payload numbers, in the offer's order, of the codecs in `ours`.
/// telephone-event is taken where it was offered.
pub fn common(offer: &PayloadMap, ours: &[Codec]) -> PayloadMap {
    PayloadMap {
        formats: offer.formats.iter().copied().filter(|f| ours.contains(&f.codec)).collect(),
        wishes: Wishes::default(),
        ..offer.clone()
    }
}

/// The same with one codec only, so that the other side has no choice which to send,
/// nor which telephone-event goes with it.
pub fn only(offer: &PayloadMap, codec: Codec) -> PayloadMap {
    let event = offer.event_beside(codec.clock_rate());
    let at = |clock| event.filter(|(_, its)| *its == clock).map(|(payload, _)| payload);
    PayloadMap {
        telephone_event: at(8000),
        telephone_event_48k: at(48_000),
        ..common(offer, &[codec])
    }
}

/// `codec` first, the others behind it as they stood.
pub fn preferring(codecs: &[Codec], codec: Codec) -> Vec<Codec> {
    let mut ordered = vec![codec];
    ordered.extend(codecs.iter().copied().filter(|other| *other != codec));
    ordered
}

/// What we answer to a direction, wanting `ours` ourselves (RFC 3264 6.1).
pub fn answer_direction(offered: Direction, ours: Direction) -> Direction {
    offered.reversed().and(ours)
}

/// Of `codecs` the one that is bridged to `other` best: as it is, by table, without loss of band, and then by
/// what costs least. The first of equals.
pub fn nearest(codecs: impl IntoIterator<Item = Codec>, other: Codec) -> Option<Codec> {
    let wide = |codec| matches!(codec, Codec::G722 | Codec::Opus);
    codecs.into_iter().min_by_key(|codec| match *codec {
        codec if codec == other => 0,
        codec if bridgeable(codec, other) => 1,
        codec if wide(codec) && wide(other) => 2,
        Codec::Opus => 4,
        _ => 3,
    })
}

/// What a description of ours that has `first` first says of our wishes: those of the side across, where its
/// packets are passed on as they are and whoever sends them is who has to follow; our own where we decode.
pub fn wishes(first: Option<Codec>, across: &PayloadMap) -> Wishes {
    let passed = |codec: &Codec| across.formats.iter().any(|f| bridgeable(f.codec, *codec));
    let ptime = first.filter(passed).map(|codec| codec.frame_within(across.wishes.ptime));
    let opus = across.payload_of(Codec::Opus).map(|_| across.wishes.opus);
    Wishes { ptime: ptime.unwrap_or(PTIME), opus: opus.unwrap_or_default() }
}

/// What two codecs may be bridged without leaving their payload form: the same one, or G.711 to G.711.
pub fn bridgeable(a: Codec, b: Codec) -> bool {
    let g711 = |codec| matches!(codec, Codec::Pcmu | Codec::Pcma);
    a == b || (g711(a) && g711(b))
}
