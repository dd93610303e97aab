//! What the player makes of what it hears.

use std::time::Instant;

use super::super::dialog::Content;
use super::super::far::{lowered, receives};
use super::super::step::Body;
use super::super::text::Text;
use super::{Player, REMEMBERED, Repeating, Stage, T1, T1X64};
use crate::sip::HeaderPair;

impl Player {
    pub(super) fn handle_response(&mut self, message: Text, now: Instant) {
        let (Some(code), Some((cseq, method))) = (message.status(), message.cseq()) else { return };
        let method = method.to_owned();
        if code >= 200 || method == "INVITE" {
            self.repeating.retain(|r| r.is_response || r.cseq != cseq || r.method != method);
        }
        let refused = method == "INVITE" && code >= 300;
        if self.seen.len() > 64 * REMEMBERED {
            self.seen.clear();
        }
        if !self.seen.insert((code, cseq, method.clone())) {
            self.repeats += 1;
            if let Some((_, ack)) = self.acks.iter().find(|(number, _)| *number == cseq)
                && method == "INVITE"
                && code >= 200
            {
                self.send(ack.clone(), now);
            }
            return;
        }
        if let Some(tag) = message.tag("To")
            && code > 100
            && (self.dialog.their_tag.is_none() || code < 300)
        {
            self.dialog.their_tag = Some(tag.to_owned());
        }
        if let (Some(contact), true) = (message.uri("Contact"), (101..300).contains(&code)) {
            self.dialog.target = contact.to_owned();
        }
        self.note_sdp(&message);
        let first = cseq == 1;
        match (method.as_str(), code) {
            ("INVITE", 101..=199) => {
                if self.stage == Stage::Calling {
                    self.stage = Stage::Ringing;
                    self.times.rang = Some(now);
                }
                if let Some(rseq) = message.header("RSeq") {
                    let rack = ("RAck".to_owned(), format!("{rseq} {cseq} INVITE"));
                    self.request("PRACK", &[rack], None, now);
                }
            }
            ("INVITE", 200..=299) => {
                self.inviting = false;
                self.to_ack = Some(cseq);
                if let Some(sdp) = message.sdp()
                    && self.offered
                {
                    self.far.take_answer(sdp);
                }
                if let Some(sdp) = message.sdp() {
                    self.agent_holds = !receives(sdp);
                }
                if first && !self.has_ended() {
                    self.stage = Stage::Answered;
                    self.times.answered = Some(now);
                }
                // CANCEL came too late (RFC 3261 9.1): the call is there, and ends as calls do.
                if self.cancelled {
                    self.acknowledge(&Body::Nothing, false, now);
                    self.bye(None, now);
                }
            }
            _ if refused => {
                self.inviting = false;
                let (number, branch) = self.invite.clone();
                if number == cseq {
                    let text = self.dialog.request("ACK", cseq, &branch, &[], None);
                    self.acks.push((cseq, text.clone()));
                    self.send(text, now);
                }
                if first || matches!(code, 408 | 481) {
                    let reason = message.header("Reason").map(str::to_owned);
                    let by_agent = !self.cancelled;
                    self.end(by_agent, code, reason);
                }
            }
            ("NOTIFY", 200..=299) if self.times.talk_ok.is_none() => {
                self.times.talk_ok = self.times.talk.map(|_| now);
            }
            ("UPDATE", 200..=299) => {
                if let Some(sdp) = message.sdp() {
                    self.far.take_answer(sdp);
                    self.agent_holds = !receives(sdp);
                }
            }
            _ => {}
        }
        self.keep(message);
    }

    pub(super) fn handle_request(&mut self, message: Text, now: Instant) {
        let (Some(method), Some((cseq, _))) = (message.method(), message.cseq()) else { return };
        let method = method.to_owned();
        if method == "ACK" {
            let waited = self.repeating.len();
            self.repeating.retain(|r| !r.is_response || r.cseq != cseq);
            if waited > self.repeating.len() {
                self.note_sdp(&message);
                if let Some(sdp) = message.sdp() {
                    self.far.take_answer(sdp);
                    self.agent_holds = !receives(sdp);
                }
                self.keep(message);
            }
            return;
        }
        let via = format!("{method} {}", message.header("Via").unwrap_or_default());
        if let Some((_, answer)) = self.answers.iter().find(|(request, _)| *request == via) {
            let answer = answer.clone();
            return self.send(answer, now);
        }
        self.note_sdp(&message);
        let (code, extra, content) = self.answer_to(&method, &message);
        let text = self.dialog.response(&message, code, &extra, content);
        if method == "INVITE" && code.starts_with('2') {
            self.repeating.push(Repeating {
                cseq,
                method: method.clone(),
                text: text.clone(),
                next: now + T1,
                pause: T1,
                until: now + T1X64,
                is_response: true,
            });
        }
        if self.answers.len() == REMEMBERED {
            self.answers.pop_front();
        }
        self.answers.push_back((via, text.clone()));
        self.send(text, now);
        if method == "BYE" {
            let reason = message.header("Reason").map(str::to_owned);
            self.end(true, 200, reason);
        }
        self.keep(message);
    }

    fn answer_to(
        &mut self,
        method: &str,
        message: &Text,
    ) -> (&'static str, Vec<HeaderPair>, Content) {
        let sdp = |text: String| Some(("application/sdp", lowered(&text)));
        if self.has_ended() && method != "BYE" {
            return ("481 Call/Transaction Does Not Exist", Vec::new(), None);
        }
        match method {
            // Glare (RFC 3261 14.2).
            "INVITE" | "UPDATE" if self.inviting && message.sdp().is_some() => {
                ("491 Request Pending", Vec::new(), None)
            }
            "INVITE" | "UPDATE" => match message.sdp() {
                Some(offer) => match self.far.answer(offer) {
                    Some(answer) => {
                        self.agent_holds = !receives(offer);
                        ("200 OK", Vec::new(), sdp(answer))
                    }
                    None => ("488 Not Acceptable Here", Vec::new(), None),
                },
                None if method == "INVITE" => ("200 OK", Vec::new(), sdp(self.far.offer())),
                None => ("200 OK", Vec::new(), None),
            },
            "BYE" | "INFO" | "OPTIONS" | "NOTIFY" | "PRACK" | "CANCEL" => {
                ("200 OK", Vec::new(), None)
            }
            _ => {
                let allow = "ACK, BYE, CANCEL, INFO, INVITE, NOTIFY, OPTIONS, PRACK, UPDATE";
                let allow = ("Allow".to_owned(), allow.to_owned());
                ("405 Method Not Allowed", vec![allow], None)
            }
        }
    }
}
