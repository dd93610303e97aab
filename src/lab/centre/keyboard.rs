//! The centre by keyboard: a letter, perhaps a word behind it, and what came of it.

use super::dialog::Caller;
use super::server::{CallNumber, Centre, CentreError};
use super::view::CallView;
use crate::lab::phone::Hold;

pub const HELP: &str = "\
c [DN]   queue a call (to the first DN that is signed in)
d [No]   the agent dials a number (7001)
t        talk: answer, or retrieve
h        hold
r        retrieve
f        the far end holds, or returns
x [No]   transfer (to 7100)
b        hang up
l        list the calls
?        this
";

/// Carries out one line. `None`: nothing was asked.
pub async fn command(centre: &Centre, line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let letter = words.next()?;
    let result = act(centre, letter, words.next()).await;
    Some(result.unwrap_or_else(|error| error.to_string()))
}

async fn act(centre: &Centre, letter: &str, word: Option<&str>) -> Result<String, CentreError> {
    let nobody = || CentreError::WrongState("nobody is signed in");
    let first = || centre.agents().into_iter().next();
    let done = "done".to_owned();
    match letter {
        "c" => {
            let dn = word.map(str::to_owned).or_else(first).ok_or_else(nobody)?;
            let call = centre.queue(&dn, Caller::new("7001")).await?;
            Ok(format!("call {} to {dn}; t answers it", call.0))
        }
        "d" => {
            let dn = first().ok_or_else(nobody)?;
            let number = word.unwrap_or("7001");
            let call = centre.dial(&dn, Caller::new(number)).await?;
            Ok(format!("call {}: {dn} dials {number}", call.0))
        }
        "t" | "r" => centre.talk(current(centre)?.0).map(|()| done),
        "h" => centre.hold(current(centre)?.0).map(|()| done),
        "f" => {
            let (call, view) = current(centre)?;
            let hold = if view.far_holds { Hold::No } else { Hold::SendOnly };
            centre.far_hold(call, hold).map(|()| done)
        }
        "x" => {
            let number = word.unwrap_or("7100");
            centre.transfer(current(centre)?.0, number).await?;
            Ok(format!("transferred to {number}"))
        }
        "b" => centre.hang_up(current(centre)?.0).map(|()| done),
        "l" => {
            let lines = centre.calls().into_iter().map(|call| {
                format!("{} {} and {}: {} {}", call.id, call.number, call.dn, call.state, call.note)
            });
            Ok(lines.collect::<Vec<_>>().join("\n"))
        }
        _ => Ok(HELP.trim_end().to_owned()),
    }
}

/// The newest call that stands.
fn current(centre: &Centre) -> Result<(CallNumber, CallView), CentreError> {
    let mut standing = centre.calls().into_iter().filter(|call| call.state != "ended");
    let view = standing.next().ok_or(CentreError::WrongState("there is no call; c queues one"))?;
    Ok((CallNumber(view.id), view))
}
