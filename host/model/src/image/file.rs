//! The file format of images.
//!
//! [`annulus_contract::image`] says what it looks like.

use super::{Config, EmbeddingConfig, Golden, Image, Special};
use crate::check::{legal_shifts, CheckError, IllegalShift};
use crate::compile::{self, CompileError, Layout, Needs, MAX_SCORE_BUFFERS};
use crate::quant::{Formats, Width};
use crate::tokenizer::{Tokenizer, TokenizerError};
use annulus_contract::crc::crc32;
use annulus_contract::image::{Section, MAGIC, NO_TOKEN, VERSION};
use annulus_contract::ring::Ring;
use annulus_contract::step::{Step, COLUMNS};
use nom::bytes::complete::{tag, take};
use nom::multi::count;
use nom::number::complete::{le_u16, le_u32};
use nom::Parser;

/// Largest number of rows that an array may have.
const MAX_ROWS: u32 = 64;
/// Most layers, so that a damaged count asks for no memory.
const MAX_LAYERS: u32 = 1 << 12;

/// Why a file is not an image that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Another kind of file.
    #[error("this is not an Annulus image")]
    NotAnImage,
    /// Written by another version.
    #[error("the image has format version {found}, this program reads {VERSION}: compile the model again")]
    Version {
        /// Its version.
        found: u32,
    },
    /// Shorter or longer than it says.
    #[error("the image says it has {stated} bytes, but has {found}")]
    Length {
        /// What its header says.
        stated: u64,
        /// What there is.
        found: u64,
    },
    /// Damaged.
    #[error("the image is damaged: its checksum is {found:08x}, but {stated:08x} was written")]
    Checksum {
        /// What its end says.
        stated: u32,
        /// What the contents give.
        found: u32,
    },
    /// A section or field ends too early.
    #[error("the image is truncated inside {0}")]
    Truncated(&'static str),
    /// Something else where a section should begin.
    #[error("the image has no section {0} where it should be")]
    Section(&'static str),
    /// A section with a length that the sizes do not ask for.
    #[error("the image's section {section} has {found} bytes, but its sizes ask for {expected}")]
    SectionLength {
        /// Tag of the section.
        section: &'static str,
        /// Its length.
        found: usize,
        /// What it should be.
        expected: usize,
    },
    /// A field that holds what it must not.
    #[error("the image's {field} is {found}, but must be {expected}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What it must hold.
        expected: &'static str,
    },
    /// Contents that do not follow from the sizes.
    #[error("the image's section {0} does not belong to its sizes: compile the model again")]
    Contents(&'static str),
    /// The model inside is not well formed.
    #[error("the image's model is not well formed: {0}")]
    Model(#[from] CheckError),
    /// The model inside may ask for an illegal shift.
    #[error("the image's model: {0}")]
    Shift(#[from] IllegalShift),
    /// No core runs it.
    #[error("the image: {0}")]
    Core(#[from] CompileError),
    /// Its tokenizer is broken.
    #[error("the image's tokenizer: {0}")]
    Tokenizer(#[from] TokenizerError),
}

/// Whether a file begins as an image does.
pub fn is_image(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

impl Image {
    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend(VERSION.to_le_bytes());
        let length_at = file.len();
        file.extend([0; 4]);
        let mut section = |tag: &str, contents: Vec<u8>| {
            file.extend(tag.as_bytes());
            file.extend((contents.len() as u32).to_le_bytes());
            file.extend(contents);
        };
        section(Section::Conf.tag(), self.config_bytes());
        let registers = self.registers();
        section(
            Section::Regs.tag(),
            words(registers.into_iter().flat_map(|(r, v)| [u32::from(r), v])),
        );
        section(
            Section::Step.tag(),
            words(self.steps.iter().flat_map(Step::encode)),
        );
        section(
            Section::Scal.tag(),
            self.scales.iter().flat_map(|s| s.to_le_bytes()).collect(),
        );
        section(
            Section::Gain.tag(),
            self.gains.iter().flat_map(|g| g.to_le_bytes()).collect(),
        );
        section(Section::Incr.tag(), words(self.increments.iter().copied()));
        section(Section::Farr.tag(), words(self.far()));
        section(Section::Wide.tag(), self.wide.clone());
        section(Section::Gold.tag(), self.golden_bytes());
        section(Section::Name.tag(), self.name.as_bytes().to_vec());
        section(
            Section::Text.tag(),
            self.tokenizer.as_ref().map_or(vec![], Tokenizer::to_bytes),
        );
        let length = file.len() as u32 + 4;
        file[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        file.extend(crc32(&file).to_le_bytes());
        file
    }

    /// Read a file and check everything in it: what passes runs on a core that
    /// [`Image::check_core`] accepts.
    ///
    /// # Errors
    /// The first thing that is wrong, by name.
    pub fn from_bytes(file: &[u8]) -> Result<Self, ImageError> {
        let mut reader = Reader {
            rest: contents(file)?,
        };
        let (config, ring, header) = read_config(&mut reader.section(Section::Conf.tag())?)?;
        config.check()?;
        let layout = Layout::new(&config, ring);
        Needs::of(&config, &layout, header.score_buffers).check_encoding()?;

        let registers = reader.section(Section::Regs.tag())?.rest;
        let steps = reader.section(Section::Step.tag())?.rest;
        let program = compile::program(&config, &layout, header.score_buffers);
        if steps != words(program.iter().flat_map(Step::encode)) {
            return Err(ImageError::Contents(Section::Step.tag()));
        }
        let own_gains = config.embedding == EmbeddingConfig::Tied;
        let pairs = if config.rope { config.head_size / 2 } else { 0 };
        let scales = reader
            .sized(Section::Scal.tag(), 2 * layout.scales)?
            .u16s(Section::Scal.tag(), layout.scales)?;
        let columns = if own_gains { config.dim } else { 0 };
        let gains = reader
            .sized(Section::Gain.tag(), 2 * columns)?
            .u16s(Section::Gain.tag(), columns)?;
        let increments = reader
            .sized(Section::Incr.tag(), 4 * pairs)?
            .u32s(Section::Incr.tag(), pairs)?;
        let far = reader.section(Section::Farr.tag())?.rest;
        let wide_bytes = layout.weight_words * ring.rows as usize * COLUMNS;
        let wide = reader.sized(Section::Wide.tag(), wide_bytes)?.rest.to_vec();
        let golden = read_golden(&mut reader.section(Section::Gold.tag())?, config.vocab)?;
        let name = std::str::from_utf8(reader.section(Section::Name.tag())?.rest)
            .map_err(|_| ImageError::Contents(Section::Name.tag()))?
            .into();
        let tokenizer = match reader.section(Section::Text.tag())?.rest {
            [] => None,
            bytes => Some(Tokenizer::from_bytes(bytes)?),
        };
        if let Some(tokenizer) = &tokenizer {
            tokenizer.check_vocab(config.vocab)?;
        }
        reader.end(Section::Text.tag())?;

        let image = Image {
            name,
            ring,
            score_buffers: header.score_buffers,
            steps: program,
            wide,
            scales,
            gains: gains.into_iter().map(|g| g as i16).collect(),
            increments,
            special: header.special,
            trained_window: header.trained_window,
            tokenizer,
            golden,
            config,
        };
        // What follows from the rest is there for readers that only copy.
        if far != words(image.far()) {
            return Err(ImageError::Contents(Section::Farr.tag()));
        }
        let expected = image.registers();
        if registers != words(expected.into_iter().flat_map(|(r, v)| [u32::from(r), v])) {
            return Err(ImageError::Contents(Section::Regs.tag()));
        }
        legal_shifts(&image.quant_model()?)?;
        Ok(image)
    }

    fn config_bytes(&self) -> Vec<u8> {
        let c = &self.config;
        let (tied, fraction_bits) = match c.embedding {
            EmbeddingConfig::Tied => (true, 0),
            EmbeddingConfig::Own { fraction_bits, .. } => (false, fraction_bits),
        };
        let flags = [
            c.rope,
            c.hadamard,
            c.relu,
            c.final_norm,
            tied,
            c.embedding_norm.is_some(),
            c.weight_bits == Width::Four,
            c.value_bits == Width::Four,
        ];
        let flags = flags
            .iter()
            .rev()
            .fold(0, |bits, &flag| bits << 1 | u32::from(flag));
        let mut bytes = words([
            self.ring.rows,
            self.ring.window,
            self.ring.sinks,
            self.score_buffers as u32,
            self.trained_window as u32,
            self.special.bos,
            self.special.stop.unwrap_or(NO_TOKEN),
            self.special.restart.unwrap_or(NO_TOKEN),
            c.dim as u32,
            c.hidden as u32,
            c.heads as u32,
            c.kv_heads as u32,
            c.head_size as u32,
            c.vocab as u32,
            c.residual_bits.into(),
            c.logit_bits.into(),
            c.eps as u32,
            c.embedding_norm.unwrap_or(0) as u32,
            c.igsh as u32,
            c.positions() as u32,
            fraction_bits.into(),
            flags,
            c.formats.len() as u32,
        ]);
        for f in &c.formats {
            bytes.extend([f.q, f.k, f.v, f.gate, f.up, f.hidden, 0, 0]);
        }
        bytes
    }

    fn golden_bytes(&self) -> Vec<u8> {
        let golden = &self.golden;
        let head = [
            golden.crc,
            golden.prompt.len() as u32,
            golden.tokens.len() as u32,
        ];
        words(
            head.into_iter()
                .chain(golden.prompt.iter().chain(&golden.tokens).copied()),
        )
    }
}

fn words(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// The sections of a file that is whole and undamaged.
fn contents(file: &[u8]) -> Result<&[u8], ImageError> {
    if !is_image(file) {
        return Err(ImageError::NotAnImage);
    }
    let mut reader = Reader {
        rest: &file[MAGIC.len()..],
    };
    let found = reader.u32("version")?;
    if found != VERSION {
        return Err(ImageError::Version { found });
    }
    let stated = reader.u32("length")?.into();
    if stated != file.len() as u64 {
        return Err(ImageError::Length {
            stated,
            found: file.len() as u64,
        });
    }
    let (before, end) = file
        .split_last_chunk()
        .ok_or(ImageError::Truncated("checksum"))?;
    let sections = reader
        .rest
        .len()
        .checked_sub(4)
        .ok_or(ImageError::Truncated("checksum"))?;
    let (stated, found) = (u32::from_le_bytes(*end), crc32(before));
    if stated != found {
        return Err(ImageError::Checksum { stated, found });
    }
    Ok(&reader.rest[..sections])
}

/// What the first section holds beside the model's sizes.
struct Header {
    score_buffers: usize,
    special: Special,
    trained_window: usize,
}

fn read_config(reader: &mut Reader) -> Result<(Config, Ring, Header), ImageError> {
    let mut number = |field| reader.u32(field);
    let ring = Ring {
        rows: number("number of rows")?,
        window: number("window")?,
        sinks: number("number of sinks")?,
    };
    require(
        "number of rows",
        ring.rows,
        "1 or an even number up to 64",
        |rows| rows == 1 || (rows % 2 == 0 && (2..=MAX_ROWS).contains(&rows)),
    )?;
    compile::ring(ring.rows, ring.window as usize, ring.sinks as usize)?;
    let score_buffers = number("number of score buffers")?;
    require("number of score buffers", score_buffers, "1 to 8", |n| {
        (1..=MAX_SCORE_BUFFERS as u32).contains(&n)
    })?;
    let trained_window = number("trained window")? as usize;
    let (bos, stop, restart) = (
        number("start token")?,
        number("stop token")?,
        number("restart token")?,
    );
    let token = |token| (token != NO_TOKEN).then_some(token);
    let special = Special {
        bos,
        stop: token(stop),
        restart: token(restart),
    };
    let mut size = |field| Ok::<_, ImageError>(number(field)? as usize);
    let (dim, hidden) = (size("dim")?, size("hidden")?);
    let (heads, kv_heads, head_size) = (size("heads")?, size("kv_heads")?, size("head_size")?);
    let vocab = size("vocab")?;
    for (field, token) in [
        ("start token", Some(bos)),
        ("stop token", special.stop),
        ("restart token", special.restart),
    ] {
        require(
            field,
            token.unwrap_or(0),
            "a token of the vocabulary",
            |t| (t as usize) < vocab,
        )?;
    }
    let mut small = |field| {
        let value = number(field)?;
        let small = u8::try_from(value);
        small.map_err(|_| ImageError::Field {
            field,
            found: value.into(),
            expected: "0 to 255",
        })
    };
    let (residual_bits, logit_bits) = (small("residual_bits")?, small("logit_bits")?);
    let (eps, embedding_eps) = (reader.u32("eps")?, reader.u32("embedding eps")?);
    let igsh = reader.u32("igsh")?;
    let igsh = i8::try_from(igsh as i32).map_err(|_| ImageError::Field {
        field: "igsh",
        found: igsh.into(),
        expected: "-128 to 127",
    })?;
    let positions = reader.u32("positions")? as usize;
    let fraction_bits = reader.u32("embedding fraction_bits")?;
    require(
        "embedding fraction_bits",
        fraction_bits,
        "0 to 31",
        |bits| bits < 32,
    )?;
    let flags = reader.u32("flags")?;
    require("flags", flags, "0 to 255", |flags| flags < 256)?;
    let flag = |bit: u32| flags >> bit & 1 == 1;
    let width = |bit| if flag(bit) { Width::Four } else { Width::Eight };
    let layers = reader.u32("number of layers")?;
    require("number of layers", layers, "0 to 4096", |layers| {
        layers <= MAX_LAYERS
    })?;
    let formats = (0..layers)
        .map(|_| reader.formats())
        .collect::<Result<_, _>>()?;
    reader.end(Section::Conf.tag())?;
    let config = Config {
        dim,
        hidden,
        heads,
        kv_heads,
        head_size,
        vocab,
        residual_bits,
        logit_bits,
        eps: eps.into(),
        rope: flag(0),
        hadamard: flag(1),
        relu: flag(2),
        final_norm: flag(3),
        embedding: if flag(4) {
            EmbeddingConfig::Tied
        } else {
            EmbeddingConfig::Own {
                positions: (positions > 0).then_some(positions),
                fraction_bits: fraction_bits as u8,
            }
        },
        igsh,
        embedding_norm: flag(5).then_some(embedding_eps.into()),
        weight_bits: width(6),
        value_bits: width(7),
        formats,
    };
    let header = Header {
        score_buffers: score_buffers as usize,
        special,
        trained_window,
    };
    Ok((config, ring, header))
}

fn read_golden(reader: &mut Reader, vocab: usize) -> Result<Golden, ImageError> {
    let crc = reader.u32("self-test hash")?;
    let (prompt, tokens) = (
        reader.u32("self-test prompt length")?,
        reader.u32("self-test length")?,
    );
    let expected = (u64::from(prompt) + u64::from(tokens)) * 4;
    if prompt == 0 || tokens == 0 || expected != reader.rest.len() as u64 {
        return Err(ImageError::Contents(Section::Gold.tag()));
    }
    let golden = Golden {
        prompt: reader.u32s("self-test prompt", prompt as usize)?,
        tokens: reader.u32s("self-test tokens", tokens as usize)?,
        crc,
    };
    for &token in golden.prompt.iter().chain(&golden.tokens) {
        require("self-test token", token, "a token of the vocabulary", |t| {
            (t as usize) < vocab
        })?;
    }
    Ok(golden)
}

fn require(
    field: &'static str,
    value: u32,
    expected: &'static str,
    holds: impl Fn(u32) -> bool,
) -> Result<(), ImageError> {
    if holds(value) {
        Ok(())
    } else {
        Err(ImageError::Field {
            field,
            found: value.into(),
            expected,
        })
    }
}

/// What is left of a file or of a section.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Run a parser that fails only where bytes are missing.
    fn parse<T>(
        &mut self,
        inside: &'static str,
        mut parser: impl Parser<&'a [u8], Output = T, Error = nom::error::Error<&'a [u8]>>,
    ) -> Result<T, ImageError> {
        let (rest, value) = parser
            .parse(self.rest)
            .map_err(|_| ImageError::Truncated(inside))?;
        self.rest = rest;
        Ok(value)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, ImageError> {
        self.parse(field, le_u32)
    }

    fn u32s(&mut self, field: &'static str, n: usize) -> Result<Vec<u32>, ImageError> {
        self.parse(field, count(le_u32, n))
    }

    fn u16s(&mut self, field: &'static str, n: usize) -> Result<Vec<u16>, ImageError> {
        self.parse(field, count(le_u16, n))
    }

    fn formats(&mut self) -> Result<Formats, ImageError> {
        let bytes = self.parse("formats", take(8usize))?;
        match *bytes {
            [q, k, v, gate, up, hidden, 0, 0] => Ok(Formats {
                q,
                k,
                v,
                gate,
                up,
                hidden,
            }),
            _ => Err(ImageError::Contents(Section::Conf.tag())),
        }
    }

    /// The section that comes next, which must be this one.
    fn section(&mut self, name: &'static str) -> Result<Reader<'a>, ImageError> {
        let missing = |_| ImageError::Section(name);
        self.parse(name, tag(name)).map_err(missing)?;
        let length = self.u32(name)?;
        Ok(Reader {
            rest: self.parse(name, take(length))?,
        })
    }

    /// The section that comes next, of a known length.
    fn sized(&mut self, section: &'static str, expected: usize) -> Result<Reader<'a>, ImageError> {
        let reader = self.section(section)?;
        match reader.rest.len() {
            found if found == expected => Ok(reader),
            found => Err(ImageError::SectionLength {
                section,
                found,
                expected,
            }),
        }
    }

    /// Nothing may be left.
    fn end(&self, section: &'static str) -> Result<(), ImageError> {
        match self.rest {
            [] => Ok(()),
            _ => Err(ImageError::Contents(section)),
        }
    }
}
