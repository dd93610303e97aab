use super::port::*;
use super::*;
use std::net::SocketAddr;
use std::time::Instant;
/// One SIP user agent: registration and dialogs, sans-I/O.
pub struct UserAgent {}
impl UserAgent {
    /// `seed` chooses tags, Call-IDs, branches and jitter.
    pub fn new(_config: UaConfig, _seed: u64) -> Self {
        unimplemented!()
    }
    pub fn handle_command(&mut self, _command: Command, _now: Instant) {
        unimplemented!()
    }
    pub fn handle_incoming(&mut self, _incoming: Incoming, _now: Instant) {
        unimplemented!()
    }
    pub fn handle_timeout(&mut self, _now: Instant) {
        unimplemented!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        unimplemented!()
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        unimplemented!()
    }
    /// True when nothing is under way: no session (ended ones linger for repeated answers), no REGISTER.
    pub fn is_idle(&self) -> bool {
        unimplemented!()
    }
    pub fn set_server(&mut self, _server: SocketAddr, _now: Instant) {
        unimplemented!()
    }
}
