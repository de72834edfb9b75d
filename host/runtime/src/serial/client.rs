//! The host's side of the wire protocol: requests that are repeated until they are answered,
//! uploads that go on where they stopped, and tokens of which none is lost or doubled.

use super::flow::Flow;
use super::{Greeting, Line, Reply, SerialError};
use annulus_contract::wire::{
    decode, encode, Answer, Digest, End, Fault, FrameError, Head, Meters, Object, Place, Receiver,
    Request, Side, MAX_CHUNK, MAX_FRAME, MAX_TOKENS, MAX_WORDS, VERSION,
};
use std::hash::{BuildHasher, Hasher};
use std::ops::ControlFlow;
use std::time::Duration;

type Result<T> = std::result::Result<T, SerialError>;

/// How long the first answer is waited for; twice as long each time, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);
/// Times that a request is sent before the board is given up.
const ATTEMPTS: u32 = 16;
/// Times that a part of an upload is sent before a shorter one is tried.
const CHUNK_ATTEMPTS: u32 = 2;
/// Times that a board is greeted.
const GREETINGS: u32 = 6;
/// How long a board that works is left alone.
const WORKING: Duration = Duration::from_millis(50);
/// Times that a board may say that it works: minutes. It gives its core up long before.
const WORKED: u32 = 4000;
/// Bytes come, but no frame of ours, so many times: nobody is there.
const NOISE: u32 = 200;
/// How long tokens are waited for before they are asked for.
const SILENCE: Duration = Duration::from_millis(200);
/// Tokens that the board may be ahead.
const WINDOW: u32 = 256;
/// Tokens after which they are acknowledged.
const ACKNOWLEDGE: u32 = 64;
/// The shortest part of an upload that a bad line is tried with.
const SHORTEST_CHUNK: usize = 16;

/// A session with a board.
pub struct Client<L> {
    line: L,
    port: String,
    receiver: Receiver,
    input: Vec<u8>,
    /// Bytes of the input that have been read.
    read: usize,
    session: u32,
    sequence: u16,
    greeting: Greeting,
    /// Bytes of an upload's next part.
    chunk: usize,
    repeated: u64,
}

/// What a line gives.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, on the stack"
)]
enum Heard {
    /// An answer.
    Reply(Head, Reply),
    /// Something that was a frame.
    Damaged,
    /// Nothing, for as long as was waited.
    Nothing,
}

impl<L: Line> Client<L> {
    /// Greets the board on `line`, which is called `port`.
    ///
    /// # Errors
    /// If no board of this version answers.
    pub fn new(line: L, port: &str) -> Result<Self> {
        let mut client = Client {
            line,
            port: port.into(),
            receiver: Receiver::new(),
            input: Vec::new(),
            read: 0,
            session: random(),
            sequence: random() as u16,
            greeting: Greeting {
                board: String::new(),
                part: String::new(),
                firmware: String::new(),
                bitstream: None,
                core: Err(Fault::NoCore),
                image: None,
                stored_bitstream: None,
                stored_image: None,
                stored_script: None,
                stayed: None,
                died: None,
            },
            chunk: MAX_CHUNK,
            repeated: 0,
        };
        client.greet()?;
        Ok(client)
    }

    /// Greets the board again and learns what it holds now. Ends a run.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn greet(&mut self) -> Result<&Greeting> {
        let mut noise = false;
        let (mut attempt, mut worked) = (0, 0);
        while attempt < GREETINGS && worked < WORKED {
            attempt += 1;
            self.sequence = self.sequence.wrapping_add(1);
            self.send(&Request::Hello)?;
            for _ in 0..NOISE {
                match self.hear(patience(attempt - 1))? {
                    Heard::Reply(head, Reply::Hello(greeting)) if self.answers(head) => {
                        self.greeting = greeting;
                        return Ok(&self.greeting);
                    }
                    // It configures its FPGA from flash.
                    Heard::Reply(head, Reply::Working) if self.answers(head) => {
                        std::thread::sleep(WORKING);
                        (attempt, worked) = (0, worked + 1);
                        break;
                    }
                    Heard::Reply(..) => {}
                    Heard::Damaged => noise = true,
                    Heard::Nothing => break,
                }
            }
            noise |= !self.input.is_empty();
        }
        Err(if noise {
            SerialError::Stranger(self.port.clone())
        } else {
            SerialError::Silent(self.port.clone())
        })
    }

    /// What the board said when it was last greeted.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// The port's name.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// The stream of bytes, for what only it can do.
    pub fn line_mut(&mut self) -> &mut L {
        &mut self.line
    }

    /// Requests that had to be sent again so far.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Asks until there is an answer.
    ///
    /// # Errors
    /// If the board cannot do it, or does not answer.
    pub fn ask(&mut self, request: &Request) -> Result<Reply> {
        let reply = self.ask_for(request, ATTEMPTS)?;
        reply.ok_or_else(|| SerialError::NoAnswer(self.port.clone()))
    }

    /// Asks so many times at most; `None` without an answer.
    fn ask_for(&mut self, request: &Request, attempts: u32) -> Result<Option<Reply>> {
        self.sequence = self.sequence.wrapping_add(1);
        let (mut attempt, mut worked) = (0, 0);
        while attempt < attempts && worked < WORKED {
            self.send(request)?;
            match self.wait(patience(attempt))? {
                Some(Reply::Working) => {
                    attempt = 0;
                    worked += 1;
                    // The answer may come by itself.
                    match self.wait(WORKING)? {
                        Some(Reply::Working) | None => {}
                        Some(reply) => return self.checked(reply).map(Some),
                    }
                }
                Some(reply) => return self.checked(reply).map(Some),
                None => {
                    self.repeated += 1;
                    attempt += 1;
                }
            }
        }
        Ok(None)
    }

    /// Asks for something that is answered by [`Reply::Done`].
    ///
    /// # Errors
    /// As for [`Client::ask`].
    pub fn order(&mut self, request: &Request) -> Result<()> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    /// Uploads an object; goes on where it was left. `progress` hears how many bytes are there.
    ///
    /// # Errors
    /// As for [`Client::ask`].
    pub fn upload(
        &mut self,
        object: Object,
        place: Place,
        bytes: &[u8],
        mut progress: impl FnMut(usize),
    ) -> Result<()> {
        let digest = Digest::of(bytes);
        let begin = Request::Begin {
            object,
            place,
            digest,
        };
        let mut have = self.have(&begin)?;
        let mut lost = 0;
        while have < bytes.len() {
            progress(have);
            let end = bytes.len().min(have + self.chunk);
            let part = Request::Chunk {
                offset: have as u32,
                bytes: bytes.get(have..end).unwrap_or_default(),
            };
            // On a bad line short frames pass where long ones do not. What has arrived of a part
            // that was given up does no harm: the board says how far it is.
            match self.ask_for(&part, CHUNK_ATTEMPTS)? {
                Some(Reply::Have(bytes)) => {
                    have = bytes as usize;
                    lost = 0;
                    self.chunk = (2 * self.chunk).min(MAX_CHUNK);
                }
                Some(_) => return Err(self.unexpected()),
                None if lost == ATTEMPTS => {
                    return Err(SerialError::NoAnswer(self.port.clone()));
                }
                None => {
                    lost += 1;
                    self.chunk = (self.chunk / 2).max(SHORTEST_CHUNK);
                }
            }
        }
        progress(have);
        self.order(&Request::Finish)
    }

    fn have(&mut self, request: &Request) -> Result<usize> {
        match self.ask(request)? {
            Reply::Have(bytes) => Ok(bytes as usize),
            _ => Err(self.unexpected()),
        }
    }

    /// Reads registers.
    ///
    /// # Errors
    /// As for [`Client::ask`].
    pub fn read_registers(&mut self, first: u8, words: &mut [u32]) -> Result<()> {
        let count = words.len() as u8;
        self.words(&Request::ReadRegisters { first, count }, words)
    }

    /// Reads at most [`MAX_WORDS`] words of the core's memories.
    ///
    /// # Errors
    /// As for [`Client::ask`].
    pub fn read_memory(&mut self, address: u32, words: &mut [u32]) -> Result<()> {
        let count = words.len().min(MAX_WORDS) as u8;
        self.words(&Request::ReadMemory { address, count }, words)
    }

    fn words(&mut self, request: &Request, words: &mut [u32]) -> Result<()> {
        match self.ask(request)? {
            Reply::Words(found) if found.len() == words.len() => {
                words.copy_from_slice(&found);
                Ok(())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Writes at most [`MAX_WORDS`] words of the core's memories.
    ///
    /// # Errors
    /// As for [`Client::ask`].
    pub fn write_memory(&mut self, address: u32, words: &[u32]) -> Result<()> {
        let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.order(&Request::WriteMemory {
            address,
            words: &words,
        })
    }

    /// Processes tokens whose logits nobody wants.
    ///
    /// # Errors
    /// As for [`Client::ask`].
    pub fn prompt(&mut self, tokens: &[u16]) -> Result<()> {
        tokens.chunks(MAX_TOKENS).try_for_each(|tokens| {
            let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
            self.order(&Request::Prompt { tokens: &bytes })
        })
    }

    /// Processes `token` and then the core's own choices, `count` choices in all, each handed
    /// to `on_token` as it comes. Ends early where the stop token is chosen or `on_token` says
    /// so. Returns how many were handed out.
    ///
    /// # Errors
    /// As for [`Client::ask`]; what was handed out before is good.
    pub fn run(
        &mut self,
        token: u16,
        count: u32,
        mut on_token: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<u32> {
        let run = random();
        self.order(&Request::Run { run, token, count })?;
        let mut flow = Flow::new(run);
        self.credit(&mut flow)?;
        let (mut silent, mut noise) = (0, 0);
        while silent < ATTEMPTS {
            let fresh = match self.hear(SILENCE)? {
                Heard::Reply(head, Reply::Fault(fault)) if self.answers(head) => {
                    return Err(self.fault(fault));
                }
                Heard::Reply(
                    head,
                    Reply::Tokens {
                        run: of,
                        first,
                        tokens,
                        end,
                    },
                ) if head.session == self.session && of == run => flow.take(first, tokens, end),
                Heard::Reply(..) | Heard::Damaged if noise < NOISE => {
                    noise += 1;
                    continue;
                }
                Heard::Reply(..) | Heard::Damaged | Heard::Nothing => {
                    silent += 1;
                    noise = 0;
                    self.repeated += 1;
                    self.credit(&mut flow)?;
                    continue;
                }
            };
            (silent, noise) = (0, 0);
            let before = flow.next - fresh.tokens.len() as u32;
            for (done, &token) in (before + 1..).zip(&fresh.tokens) {
                if on_token(token.into()).is_break() {
                    self.order(&Request::Stop)?;
                    return Ok(done);
                }
            }
            match fresh.end {
                Some(End::Fault(fault)) => return Err(self.fault(fault)),
                Some(End::Count | End::Stop | End::Stopped) => return Ok(flow.next),
                None if fresh.lost => {
                    self.repeated += 1;
                    self.credit(&mut flow)?;
                }
                None if flow.next >= flow.acknowledged + ACKNOWLEDGE => self.credit(&mut flow)?,
                None => {}
            }
        }
        Err(SerialError::NoAnswer(self.port.clone()))
    }

    /// Acknowledges what has come, asks for the rest, and makes room for more.
    fn credit(&mut self, flow: &mut Flow) -> Result<()> {
        flow.acknowledged = flow.next;
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&Request::Credit {
            run: flow.run,
            from: flow.next,
            until: flow.next.saturating_add(WINDOW),
        })
    }

    /// What the board has counted.
    ///
    /// # Errors
    /// As for [`Client::ask`].
    pub fn meters(&mut self) -> Result<Meters> {
        match self.ask(&Request::Meters)? {
            Reply::Meters(meters) => Ok(meters),
            _ => Err(self.unexpected()),
        }
    }

    // ---- frames --------------------------------------------------------------

    fn send(&mut self, request: &Request) -> Result<()> {
        let mut frame = [0; MAX_FRAME];
        let head = Head::new(self.session, self.sequence);
        let length = encode(Side::Host, head, request, &mut frame)
            .map_err(|_| SerialError::Unexpected(self.port.clone()))?;
        let sent = self.line.send(&frame[..length]);
        sent.map_err(|why| self.gone(why))
    }

    /// Waits for the answer to the request that was just sent. `None` where none comes in time
    /// or something was lost.
    fn wait(&mut self, patience: Duration) -> Result<Option<Reply>> {
        for _ in 0..NOISE {
            match self.hear(patience)? {
                Heard::Reply(head, reply) if self.answers(head) => return Ok(Some(reply)),
                Heard::Reply(..) => {}
                Heard::Damaged | Heard::Nothing => break,
            }
        }
        Ok(None)
    }

    /// Waits for a frame, but not through more bytes than a few of them have.
    fn hear(&mut self, patience: Duration) -> Result<Heard> {
        let mut heard = 0;
        loop {
            while let Some(&byte) = self.input.get(self.read) {
                self.read += 1;
                let Some(bytes) = self.receiver.push(byte) else {
                    continue;
                };
                match decode::<Answer>(Side::Board, bytes) {
                    Ok((head, answer)) => return Ok(Heard::Reply(head, answer.into())),
                    Err(FrameError::Message(head)) if head.version != VERSION => {
                        return Err(SerialError::Version {
                            port: self.port.clone(),
                            board: head.version,
                        });
                    }
                    Err(_) => return Ok(Heard::Damaged),
                }
            }
            if heard >= 4 * MAX_FRAME {
                return Ok(Heard::Damaged);
            }
            let mut bytes = [0; 4096];
            let count = self.line.receive(&mut bytes, patience);
            let count = count.map_err(|why| self.gone(why))?;
            if count == 0 {
                return Ok(Heard::Nothing);
            }
            heard += count;
            self.input = bytes.get(..count).unwrap_or_default().to_vec();
            self.read = 0;
        }
    }

    /// Whether this is the answer to the request that was sent last.
    fn answers(&self, head: Head) -> bool {
        (head.session, head.sequence) == (self.session, self.sequence)
    }

    fn checked(&self, reply: Reply) -> Result<Reply> {
        match reply {
            Reply::Fault(fault) => Err(self.fault(fault)),
            reply => Ok(reply),
        }
    }

    fn fault(&self, fault: Fault) -> SerialError {
        SerialError::Fault {
            port: self.port.clone(),
            fault,
        }
    }

    fn unexpected(&self) -> SerialError {
        SerialError::Unexpected(self.port.clone())
    }

    fn gone(&self, why: std::io::Error) -> SerialError {
        SerialError::Gone {
            port: self.port.clone(),
            why,
        }
    }
}

fn patience(attempt: u32) -> Duration {
    (FIRST * 2u32.saturating_pow(attempt)).min(LONGEST)
}

/// A number that another program would not choose.
fn random() -> u32 {
    let state = std::collections::hash_map::RandomState::new();
    state.build_hasher().finish() as u32
}
