//! What a script is made of.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::super::phone::Hold;
use super::far::FarEnd;

/// Far longer than any gateway takes that works: what is expected at once may still come late on a
/// busy machine, and how long it took is noted beside it.
pub const SOON: Duration = Duration::from_secs(15);
/// After the ACK of an answered call the server asks for the offer so much later.
pub const OFFERLESS_AFTER: Duration = Duration::from_millis(12);

/// What a message of ours carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Nothing,
    /// The far end's offer.
    Offer,
    /// The far end's answer to the last offer that came.
    Answer,
    /// The last SDP that came, word for word: what a failed call is acknowledged with.
    Mirrored,
    /// The far end's answer with `c=0.0.0.0`: what else a failed call is acknowledged with.
    BlackHole,
    /// The last offer of ours once more, unchanged.
    Unchanged,
    /// Anything, under its content type.
    Other(&'static str, String),
}

/// A message that has to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A response to a request of this method.
    Status(u16, &'static str),
    /// A final response to a request of this method, whatever it says.
    Final(&'static str),
    /// A request; it has been answered by then.
    Request(&'static str),
    /// A re-INVITE with an SDP that no longer hears.
    HoldOffer,
    /// A re-INVITE with an SDP that hears again.
    RetrieveOffer,
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Status(code, method) => write!(f, "{code} to the {method}"),
            Expect::Final(method) => write!(f, "a final answer to the {method}"),
            Expect::Request(method) => write!(f, "{method} of the gateway's"),
            Expect::HoldOffer => f.write_str("a re-INVITE of the gateway's that holds"),
            Expect::RetrieveOffer => f.write_str("a re-INVITE of the gateway's that retrieves"),
        }
    }
}

/// One line of a script.
#[derive(Debug, Clone)]
pub enum Step {
    /// The first INVITE.
    Invite(Body),
    /// INVITE in the dialog.
    Reinvite(Body),
    /// UPDATE (RFC 3311).
    Update(Body),
    /// NOTIFY `Event: talk` or whatever else, without a subscription and with an empty body.
    Notify(&'static str),
    /// INFO.
    Info(Body),
    Options,
    /// A request of any method, for what a gateway does with it.
    Other(&'static str),
    /// The ACK of the last 2xx to an INVITE of ours.
    Ack(Body),
    /// The same, and the network loses it.
    AckLost(Body),
    Cancel,
    /// BYE with this Reason header.
    Bye(Option<&'static str>),
    /// The last request once more, byte for byte, as the network repeats it.
    Again,
    /// Waits for a message, and fails the script when it does not come in time.
    Expect(Expect, Duration),
    Wait(Duration),
    /// The far end's hold, for its next offer or answer.
    Hold(Hold),
    /// Somebody else is the far end from now on.
    Connect(Arc<dyn FarEnd>),
}

impl Step {
    pub fn status(code: u16, method: &'static str) -> Self {
        Step::Expect(Expect::Status(code, method), SOON)
    }

    pub fn expect(expect: Expect) -> Self {
        Step::Expect(expect, SOON)
    }
}
