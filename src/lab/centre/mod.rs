//! A scripted contact-centre server: the SIP side of third-party call control as an agent's desktop
//! (WWE) drives it, message by message as captures of such a server show.
//!
//! An agent's answer is NOTIFY `Event: talk` in the early dialog; the re-INVITE without SDP follows the
//! ACK; a call that the agent dials is an INVITE without SDP whose ACK waits for the far end. All media
//! are the far end's own: one of the lab's [`super::Phone`]s, whose ears tell what came through.
//!
//! * [`Player`] plays a [`Step`] after the other against one DN, sans-I/O: on paper under virtual time,
//!   or behind a socket.
//! * [`Centre`] is a running one: a socket, a person's or a test's hand on each call.
//! * [`scenario`] has the flows and their odd endings by name.

mod cast;
mod console;
mod dialog;
mod far;
pub mod keyboard;
mod ladder;
mod player;
mod registrar;
pub mod scenario;
mod server;
mod step;
mod text;
mod view;

pub use cast::{CAST, Manner, Role, role_of};
pub use console::Console;
pub use dialog::{Caller, Names};
pub use far::{FarEnd, media_address, origin, receives};
pub use ladder::{Ladder, Rung};
pub use player::{Ended, Failure, Player, Setup, Stage, Times};
pub use scenario::Scenario;
pub use server::{CallNumber, Centre, CentreError};
pub use step::{Body, Expect, OFFERLESS_AFTER, SOON, Step};
pub use text::Text;
pub use view::CallView;
