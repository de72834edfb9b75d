//! Frames in, frames out: sessions, repeated requests, and what waits to be sent.

use crate::board::{Board, Port};
use crate::station::{Reply, Station};
use annulus_contract::link::Wire;
use annulus_contract::wire::{
    decode, encode, Answer, Fault, FrameError, Head, Receiver, Request, Side, MAX_FRAME,
};
use heapless::Vec;

/// Bytes that are taken from the port at once: a packet of the USB.
const INPUT: usize = 64;

/// The firmware of a board: see the [crate's documentation](crate).
pub struct Dispatcher<B, W> {
    station: Station<B, W>,
    receiver: Receiver,
    input: Vec<u8, INPUT>,
    /// Bytes of the input that have been read.
    read: usize,
    session: Session,
    output: Output,
}

/// What is known of the host.
struct Session {
    /// Nobody has said hello yet.
    id: Option<u32>,
    /// Sequence number of the last request that was executed, or begun.
    last: Option<u16>,
    /// It has not been answered yet.
    pending: bool,
    /// Its answer, as it was sent.
    kept: Vec<u8, MAX_FRAME>,
    /// Tokens that nobody asked for again carry this one.
    credit: u16,
}

/// Frames on their way to the port.
struct Output {
    bytes: Vec<u8, { 2 * MAX_FRAME }>,
    sent: usize,
}

impl<B: Board, W: Wire> Dispatcher<B, W> {
    /// For a board and the wire to its core. Nothing happens before [`Dispatcher::poll`].
    pub fn new(board: B, wire: W) -> Self {
        Dispatcher {
            station: Station::new(board, wire),
            receiver: Receiver::new(),
            input: Vec::new(),
            read: 0,
            session: Session {
                id: None,
                last: None,
                pending: false,
                kept: Vec::new(),
                credit: 0,
            },
            output: Output {
                bytes: Vec::new(),
                sent: 0,
            },
        }
    }

    /// Begins a board's life without a host: the next turns configure the FPGA from flash, load
    /// the image that is there, run its self-test, and write what the script says
    /// (`annulus_contract::script`), as plain text to the port as well. Lights and text tell what
    /// failed, if anything did; a host that says hello ends it.
    pub fn start_stored(&mut self) {
        self.station.start_stored();
    }

    /// The board.
    pub fn board(&mut self) -> &mut B {
        self.station.board()
    }

    /// A little of everything: reads what has come, answers it, goes on with what is under
    /// way, sends what there is room for.
    pub fn poll(&mut self, port: &mut impl Port) {
        let start = self.station.board().micros();
        let linked = self.station.meters.link_micros;
        self.output.flush(port);
        let heard = self.hear(port);
        let answer = self.station.turn();
        if let Some(answer) = answer {
            self.session.resolve(&answer, &mut self.output);
        }
        self.tell();
        self.output.flush(port);
        if heard || self.station.meters.link_micros > linked {
            let now = self.station.board().micros();
            self.station.meters.busy_micros += now.saturating_sub(start);
        }
        if self.output.is_empty() {
            if let Some(how) = self.station.reboot.take() {
                self.station.board().reboot(how);
            }
        }
    }

    /// Reads up to one frame, and answers it. Whether there was one.
    fn hear(&mut self, port: &mut impl Port) -> bool {
        if self.read == self.input.len() {
            let mut bytes = [0; INPUT];
            let count = port.read(&mut bytes).min(INPUT);
            self.input = Vec::from_slice(&bytes[..count]).unwrap_or_default();
            self.read = 0;
        }
        while let Some(&byte) = self.input.get(self.read) {
            self.read += 1;
            let Some(bytes) = self.receiver.push(byte) else {
                continue;
            };
            let meters = &mut self.station.meters;
            match decode::<Request>(Side::Host, bytes) {
                Ok((head, request)) => {
                    meters.frames += 1;
                    self.session
                        .answer(head, &request, &mut self.station, &mut self.output);
                }
                Err(FrameError::Message(head)) => {
                    meters.frames += 1;
                    // In this firmware's own version, which the host reads from the head.
                    let head = Head::new(head.session, head.sequence);
                    self.output.push(head, &Answer::Fault(Fault::Version));
                }
                Err(_) => meters.damaged += 1,
            }
            return true;
        }
        false
    }

    /// Sends tokens, if there are any and there is room; and plain text where no host is.
    fn tell(&mut self) {
        let text = self.station.take_text();
        if self.session.id.is_none() {
            return self.output.push_frame(&text);
        }
        if !self.output.has_room() {
            return;
        }
        let head = self.session.head(self.session.credit);
        if let Some(news) = self.station.news() {
            self.output.push(head, &news);
        }
    }
}

impl Session {
    fn head(&self, sequence: u16) -> Head {
        Head::new(self.id.unwrap_or(0), sequence)
    }

    /// Does what a request asks for, unless it has been done.
    fn answer<B: Board, W: Wire>(
        &mut self,
        head: Head,
        request: &Request,
        station: &mut Station<B, W>,
        output: &mut Output,
    ) {
        let head = Head::new(head.session, head.sequence);
        if matches!(request, Request::Hello) {
            let Some(hello) = station.hello() else {
                return output.push(head, &Answer::Working);
            };
            self.id = Some(head.session);
            (self.last, self.pending) = (None, false);
            return output.push(head, &hello);
        }
        if self.id != Some(head.session) {
            let fault = self.id.map_or(Fault::NoSession, |_| Fault::Session);
            output.push(head, &Answer::Fault(fault));
            return;
        }
        if self.last == Some(head.sequence) {
            station.meters.repeated += 1;
            if self.pending {
                output.push(head, &Answer::Working);
            } else {
                output.push_frame(&self.kept);
            }
            return;
        }
        let credit = matches!(request, Request::Credit { .. });
        match station.request(request) {
            // Doing it again does no harm, and what the last request was answered may be asked
            // for again.
            Reply::Now(answer) if credit => {
                self.credit = head.sequence;
                output.push(head, &answer);
            }
            Reply::Now(answer) => {
                (self.last, self.pending) = (Some(head.sequence), true);
                self.resolve(&answer, output);
            }
            Reply::Later => (self.last, self.pending) = (Some(head.sequence), true),
            Reply::NotYet => output.push(head, &Answer::Working),
        }
    }

    /// The last request has its answer.
    fn resolve(&mut self, answer: &Answer, output: &mut Output) {
        let Some(sequence) = self.last.filter(|_| self.pending) else {
            return;
        };
        self.pending = false;
        let mut frame = [0; MAX_FRAME];
        let length = encode(Side::Board, self.head(sequence), answer, &mut frame).unwrap_or(0);
        self.kept = Vec::from_slice(&frame[..length]).unwrap_or_default();
        output.push_frame(&self.kept);
    }
}

impl Output {
    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Whether any frame fits.
    fn has_room(&self) -> bool {
        self.bytes.len() + MAX_FRAME <= self.bytes.capacity()
    }

    fn push(&mut self, head: Head, answer: &Answer) {
        let mut frame = [0; MAX_FRAME];
        let length = encode(Side::Board, head, answer, &mut frame).unwrap_or(0);
        self.push_frame(&frame[..length]);
    }

    /// Sends a frame. One for which there is no room is dropped, as if it were lost on its way:
    /// a host that does not read will ask again when it does.
    fn push_frame(&mut self, frame: &[u8]) {
        let _ = self.bytes.extend_from_slice(frame);
    }

    fn flush(&mut self, port: &mut impl Port) {
        let waiting = self.bytes.get(self.sent..).unwrap_or_default();
        if !waiting.is_empty() {
            self.sent += port.write(waiting).min(waiting.len());
        }
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
        }
    }
}
