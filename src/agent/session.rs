//! One signed-in agent.

/// Filled in by the agent room.
#[derive(Debug)]
pub struct Session {}
