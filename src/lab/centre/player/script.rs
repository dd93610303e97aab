//! What the player does next, and what it says.

use std::time::Instant;

use super::super::dialog::Content;
use super::super::far::{black_hole, dressed, lowered, receives};
use super::super::step::{Body, Expect, Step};
use super::super::text::Text;
use super::{Failure, Player, Repeating, Stage, T1, T1X64, Waiting};
use crate::sip::HeaderPair;

impl Player {
    pub(super) fn advance(&mut self, now: Instant) {
        loop {
            match &self.waiting {
                Some(Waiting::Until(at)) if now < *at => return,
                Some(Waiting::For { expect, since, within }) => {
                    let (expect, due, within) = (*expect, *since + *within, *within);
                    let found = self.inbox.iter().position(|message| fits(expect, message));
                    let cannot = match &self.stage {
                        Stage::Ended(ended) if ended.by_agent => {
                            Some(format!("before the gateway ended the call ({})", ended.code))
                        }
                        _ if now >= due => Some(format!("in {within:?}")),
                        _ => None,
                    };
                    match (found, cannot) {
                        (Some(at), _) => {
                            self.inbox.remove(at);
                        }
                        (None, None) => return,
                        (None, Some(how)) => {
                            let unclaimed = self.inbox.iter().map(Text::label).collect();
                            let wanted = expect.to_string();
                            self.failure.get_or_insert(Failure { wanted, how, unclaimed });
                            self.abandon();
                            return;
                        }
                    }
                }
                _ => {}
            }
            self.waiting = None;
            match self.steps.pop_front() {
                Some(step) => self.carry_out(step, now),
                None => return,
            }
        }
    }

    fn carry_out(&mut self, step: Step, now: Instant) {
        match step {
            Step::Invite(body) | Step::Reinvite(body) => self.invite(body, now),
            Step::Update(body) => self.offer("UPDATE", body, now),
            Step::Notify(event) => {
                if event == "talk" && self.times.answered.is_none() {
                    self.times.talk = Some(now);
                    self.times.talk_ok = None;
                }
                self.request("NOTIFY", &[("Event".to_owned(), event.to_owned())], None, now);
            }
            Step::Info(body) => {
                let content = self.content(&body);
                self.request("INFO", &[], content, now);
            }
            Step::Options => self.request("OPTIONS", &[], None, now),
            Step::Other(method) => self.request(method, &[], None, now),
            Step::Ack(body) => self.acknowledge(&body, false, now),
            Step::AckLost(body) => self.acknowledge(&body, true, now),
            Step::Cancel => {
                if self.inviting {
                    self.cancelled = true;
                    let (cseq, branch) = self.invite.clone();
                    let text = self.dialog.request("CANCEL", cseq, &branch, &[], None);
                    self.repeat("CANCEL", cseq, &text, now);
                    self.send(text, now);
                }
            }
            Step::Bye(reason) => self.bye(reason, now),
            Step::Again => {
                if let Some(text) = self.last_request.clone() {
                    self.send(text, now);
                }
            }
            Step::Expect(expect, within) => {
                self.waiting = Some(Waiting::For { expect, since: now, within });
            }
            Step::Wait(time) => self.waiting = Some(Waiting::Until(now + time)),
            Step::Hold(hold) => self.far.set_hold(hold),
            Step::Connect(far) => {
                std::mem::replace(&mut self.far, far).stop();
            }
        }
    }

    fn content(&mut self, body: &Body) -> Content {
        let last = || self.sdps.back().cloned().unwrap_or_default();
        let sdp = match body {
            Body::Nothing => return None,
            Body::Other(kind, text) => return Some((*kind, text.clone())),
            Body::Offer => dressed(&self.far.offer()),
            Body::Unchanged => {
                self.last_offer.clone().unwrap_or_else(|| dressed(&self.far.offer()))
            }
            Body::Answer => lowered(&self.far.answer(&last()).unwrap_or_else(last)),
            Body::Mirrored => last(),
            Body::BlackHole => black_hole(&lowered(&self.far.answer(&last()).unwrap_or_else(last))),
        };
        if matches!(body, Body::Offer) {
            self.last_offer = Some(sdp.clone());
        }
        Some(("application/sdp", sdp))
    }

    fn invite(&mut self, body: Body, now: Instant) {
        if self.stage == Stage::New {
            self.stage = Stage::Calling;
            self.times.invited = Some(now);
        }
        self.inviting = true;
        self.offer("INVITE", body, now);
    }

    fn offer(&mut self, method: &str, body: Body, now: Instant) {
        self.offered = matches!(body, Body::Offer | Body::Unchanged);
        let content = self.content(&body);
        let timer = ("Session-Expires".to_owned(), "1800;refresher=uac".to_owned());
        // An INVITE has it from its template.
        let extra = if method == "UPDATE" { vec![timer] } else { Vec::new() };
        self.request(method, &extra, content, now);
    }

    pub(super) fn request(
        &mut self,
        method: &str,
        extra: &[HeaderPair],
        content: Content,
        now: Instant,
    ) {
        if self.has_ended() {
            return;
        }
        self.dialog.cseq += 1;
        let (cseq, branch) = (self.dialog.cseq, self.dialog.next_branch());
        let text = self.dialog.request(method, cseq, &branch, extra, content);
        if method == "INVITE" {
            self.invite = (cseq, branch);
        }
        self.repeat(method, cseq, &text, now);
        self.last_request = Some(text.clone());
        self.send(text, now);
    }

    fn repeat(&mut self, method: &str, cseq: u32, text: &str, now: Instant) {
        self.repeating.push(Repeating {
            cseq,
            method: method.to_owned(),
            text: text.to_owned(),
            next: now + T1,
            pause: T1,
            until: now + T1X64,
            is_response: false,
        });
    }

    pub(super) fn acknowledge(&mut self, body: &Body, lost: bool, now: Instant) {
        let Some(cseq) = self.to_ack.take() else { return };
        let content = self.content(body);
        let branch = self.dialog.next_branch();
        let text = self.dialog.request("ACK", cseq, &branch, &[], content);
        self.acks.push((cseq, text.clone()));
        if self.stage == Stage::Answered {
            self.stage = Stage::Up;
        }
        if lost {
            self.ladder.note(&text, true, true, now);
        } else {
            self.send(text, now);
        }
    }

    pub(super) fn bye(&mut self, reason: Option<&str>, now: Instant) {
        let extra: Vec<_> =
            reason.map(|r| ("Reason".to_owned(), r.to_owned())).into_iter().collect();
        self.request("BYE", &extra, None, now);
        self.end(false, 200, reason.map(str::to_owned));
    }

    // What comes.
}

fn fits(expect: Expect, message: &Text) -> bool {
    let method = message.cseq().map_or("", |(_, method)| method);
    match (expect, message.status()) {
        (Expect::Status(wanted, of), Some(code)) => code == wanted && method == of,
        (Expect::Final(of), Some(code)) => code >= 200 && method == of,
        (Expect::Request(wanted), None) => message.method() == Some(wanted),
        (Expect::HoldOffer, None) => {
            method == "INVITE" && message.sdp().is_some_and(|s| !receives(s))
        }
        (Expect::RetrieveOffer, None) => method == "INVITE" && message.sdp().is_some_and(receives),
        _ => false,
    }
}
