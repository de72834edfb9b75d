//! A run's tokens between the core and the host.

use annulus_contract::wire::{Answer, End, MAX_TOKENS};
use heapless::{Deque, Vec};

/// Tokens that a board keeps until the host has acknowledged them.
const KEPT: usize = 256;

/// Tokens that are sent in one frame: on a bad line short frames pass where long ones do not.
const TOGETHER: usize = 32;

/// The bytes of the tokens in one frame.
pub(crate) type TokenBytes = Vec<u8, { 2 * MAX_TOKENS }>;

/// A run, from its first token until the next run begins.
#[derive(Debug)]
pub(crate) struct Run {
    pub id: u32,
    count: u32,
    stop: Option<u32>,
    /// Tokens that the host has not acknowledged.
    kept: Deque<u16, KEPT>,
    /// Index of the first of them.
    first: u32,
    /// Index of the next one to send.
    sent: u32,
    /// The host has room for those before this one.
    until: u32,
    end: Option<End>,
    end_sent: bool,
    /// Tokens are given one at a time, and only when they come: nothing to send at once.
    answered: bool,
}

impl Run {
    pub fn new(id: u32, count: u32, stop: Option<u32>) -> Self {
        Run {
            id,
            count,
            stop,
            kept: Deque::new(),
            first: 0,
            sent: 0,
            until: 0,
            end: None,
            end_sent: false,
            answered: true,
        }
    }

    /// Index of the token that comes next from the core.
    fn next(&self) -> u32 {
        self.first + self.kept.len() as u32
    }

    /// Whether there is room for a token, here and at the host.
    pub fn wants(&self) -> bool {
        self.end.is_none() && self.next() < self.until && !self.kept.is_full()
    }

    /// Whether the run has ended: no more comes from the core.
    pub fn ended(&self) -> bool {
        self.end.is_some()
    }

    /// A token from the core, which the run [wants](Run::wants).
    pub fn push(&mut self, token: u32) {
        // A token has 16 bits, and there is room.
        let _ = self.kept.push_back(token as u16);
        if self.stop == Some(token) {
            self.end = Some(End::Stop);
        } else if self.next() == self.count {
            self.end = Some(End::Count);
        }
    }

    /// Why no more comes from the core, if so.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// How many tokens are here.
    pub fn waiting(&self) -> u32 {
        self.kept.len() as u32
    }

    /// Takes the oldest token that is here.
    pub fn shift(&mut self) -> Option<u16> {
        let token = self.kept.pop_front()?;
        self.first += 1;
        Some(token)
    }

    /// No more tokens come.
    pub fn finish(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
        }
    }

    /// The host has all tokens before `from`, wants the others again, and has room for those
    /// before `until`.
    pub fn credit(&mut self, from: u32, until: u32) {
        while self.first < from && self.kept.pop_front().is_some() {
            self.first += 1;
        }
        self.sent = self.first;
        self.until = until;
        self.end_sent = false;
        self.answered = false;
    }

    /// Whether there is something to say that the host has not been told.
    pub fn has_news(&self) -> bool {
        !self.answered || self.sent < self.next() || (self.end.is_some() && !self.end_sent)
    }

    /// As many tokens as fit a frame, from the first that has not been sent on.
    pub fn answer<'a>(&mut self, bytes: &'a mut TokenBytes) -> Answer<'a> {
        bytes.clear();
        let first = self.sent;
        let skipped = (self.sent - self.first) as usize;
        for token in self.kept.iter().skip(skipped).take(TOGETHER) {
            if bytes.extend_from_slice(&token.to_le_bytes()).is_ok() {
                self.sent += 1;
            }
        }
        let end = self.end.filter(|_| self.sent == self.next());
        self.end_sent = end.is_some();
        self.answered = true;
        Answer::Tokens {
            run: self.id,
            first,
            tokens: bytes,
            end,
        }
    }
}
