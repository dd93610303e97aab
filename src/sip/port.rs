//! The port between our dialogs and whatever runs SIP transactions and transports (RFC 3261 17, 18).

use super::hop::Hop;

use rsipstack::sip::{Request, Response};

/// A client transaction, numbered by the user agent that starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientTx(pub u64);

/// A server transaction, numbered by the endpoint that received the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerTx(pub u64);

/// What a user agent wants sent.
///
/// Requests carry everything but what a transaction adds: Via with its branch is the user agent's, so
/// that CANCEL and a challenged request are built in one place.
#[derive(Debug)]
pub enum Transmit {
    /// A request in a transaction of its own. Retransmission is the transaction's business.
    Request { tx: ClientTx, request: Request, to: Hop },
    /// CANCEL for an INVITE transaction that has had a provisional answer (RFC 3261 9.1). Its own
    /// answer is swallowed by the endpoint; the INVITE gets 487, or `Failed` after 64*T1.
    Cancel { invite: ClientTx, request: Request, to: Hop },
    /// ACK for a 2xx: outside any transaction, sent again for each repeated 2xx (RFC 3261 13.2.2.4).
    Ack { request: Request, to: Hop },
    /// A request that nobody waits for any more: it is not sent again, and its answer goes nowhere.
    Abandon { tx: ClientTx },
    /// An answer. A 2xx to INVITE comes again with growing pauses until its ACK arrives: the
    /// dialog asks for each repetition itself (RFC 3261 13.3.1.4).
    Response { tx: ServerTx, response: Response },
}

/// Where a user agent takes its messages from. Boxed, for tokio's channel keeps room for 32 of them,
/// which would be most of what an idle agent costs.
pub type Inbox = tokio::sync::mpsc::Sender<Box<Incoming>>;

/// What the endpoint hands to a user agent.
#[derive(Debug)]
pub enum Incoming {
    /// A new request; a retransmission never shows up here, nor does the ACK of a refusal.
    ///
    /// The ACK of a 2xx is one of them; its `tx` takes no answer. CANCEL is one, too, handed to
    /// whoever has (last answered) the INVITE, under a number of its own: it wants its 200 or 481
    /// there, and the INVITE its 487. A CANCEL without an INVITE is answered by the endpoint.
    Request { tx: ServerTx, request: Request, from: Hop },
    /// An answer to one of ours. Repeated 2xx to INVITE do show up.
    Response { tx: ClientTx, response: Response, from: Hop },
    /// A client transaction ended without a final answer.
    Failed { tx: ClientTx, why: TxFailure },
}

/// Why a client transaction had no final answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxFailure {
    /// Timer B or F (32 s) ran out: treated like a 408 (RFC 3261 8.1.3.1).
    Timeout,
    /// The message could not be sent: treated like a 503.
    Transport,
}
