//! Reads the coverage files that models write.

use std::fs;
use std::path::Path;

use super::error::SimError;

/// What a point counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoverageKind {
    /// How often a line or a branch ran.
    Line,
    /// How often a bit changed in one direction.
    Toggle,
}

/// One counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoveragePoint {
    /// What it counts.
    pub kind: CoverageKind,
    /// The line in the Verilog, from 1.
    pub line: usize,
    /// Where in the hierarchy.
    pub scope: String,
    /// What it is about: `block`, `if`, `else`, or a bit such as `count[3]`.
    pub comment: String,
    /// How often that happened.
    pub count: u64,
}

/// All counters of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// In the order of the file.
    pub points: Vec<CoveragePoint>,
}

impl Coverage {
    /// Reads a file written by [`Model::write_coverage`](super::Model::write_coverage).
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is no coverage record.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, SimError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(SimError::io(path))?;
        let records = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.starts_with('#'));
        let point = |(index, line)| {
            point(line).ok_or_else(|| SimError::CoverageRecord {
                file: path.to_owned(),
                line: index + 1,
            })
        };
        Ok(Self {
            points: records.map(point).collect::<Result<_, _>>()?,
        })
    }

    /// Points of a kind that were reached, and all of that kind.
    pub fn reached(&self, kind: CoverageKind) -> (usize, usize) {
        let all = || self.points.iter().filter(|p| p.kind == kind);
        (all().filter(|p| p.count > 0).count(), all().count())
    }

    /// The points that were never reached.
    pub fn missed(&self) -> impl Iterator<Item = &CoveragePoint> {
        self.points.iter().filter(|p| p.count == 0)
    }
}

/// `C 'FIELDS' COUNT`, where each field is `\x01 NAME \x02 VALUE`.
fn point(record: &str) -> Option<CoveragePoint> {
    let (fields, count) = record.strip_prefix("C '")?.rsplit_once("' ")?;
    let field = |name: &str| {
        let mut pairs = fields
            .split('\x01')
            .filter_map(|pair| pair.split_once('\x02'));
        pairs
            .find(|(n, _)| *n == name)
            .map_or("", |(_, value)| value)
    };
    let kind = match field("page").split('/').next()? {
        "v_toggle" => CoverageKind::Toggle,
        _ => CoverageKind::Line,
    };
    Some(CoveragePoint {
        kind,
        line: field("l").parse().ok()?,
        scope: field("h").to_owned(),
        comment: field("o").to_owned(),
        count: count.parse().ok()?,
    })
}
