//! Readers of other projects' model files.
//!
//! Each takes a whole file in memory and gives a [`FloatModel`](crate::float::FloatModel)
//! that has passed [`FloatModel::check`](crate::float::FloatModel::check), or one
//! sentence that names the field at fault. Nothing is allocated on the word of a
//! header alone: sizes are held against the file's length first.

mod json;
pub mod llama;
pub mod llama2c;
pub mod microgpt;

use crate::config::ShapeError;
use thiserror::Error;

/// Why a file is not a model.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ImportError {
    /// The shape is one that no core runs, or a weight is not finite.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A file of another kind, known by its first bytes.
    #[error("this is {found}: {way_out}")]
    Foreign {
        /// What it is.
        found: &'static str,
        /// What to give instead.
        way_out: &'static str,
    },
    /// The file ends too early.
    #[error("the file is truncated: {field} takes {needed} bytes, but {left} are left")]
    Truncated {
        /// What the file ends in.
        field: String,
        /// Bytes that it takes.
        needed: usize,
        /// Bytes that are left for it.
        left: usize,
    },
    /// The file goes on after its last tensor.
    #[error("the file is oversized: {0} bytes follow its last tensor")]
    TrailingBytes(usize),
    /// Not UTF-8, as JSON must be.
    #[error("not valid JSON: byte {0} is not UTF-8")]
    NotUtf8(usize),
    /// Not JSON.
    #[error("not valid JSON at line {line}, column {column}: expected {expected}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// What would have been right.
        expected: &'static str,
    },
    /// Not JSON, in the words of its parser.
    #[error("not valid JSON: {0}")]
    Json(String),
    /// Not a safetensors file, in the words of its parser.
    #[error("not a safetensors file: {0}")]
    Safetensors(String),
    /// A tensor of another shape.
    #[error("{tensor} has the shape {found:?}, but the configuration makes it {expected:?}")]
    Dimensions {
        /// Name of the tensor.
        tensor: String,
        /// Its dimensions.
        found: Vec<usize>,
        /// What they should be.
        expected: Vec<usize>,
    },
    /// A configuration that asks for what no core does.
    #[error("{field} is {found}, but this project knows only {expected}")]
    Unsupported {
        /// Name of the field or tensor.
        field: String,
        /// What it holds.
        found: String,
        /// What it may hold.
        expected: String,
    },
    /// A field is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// A field that this format does not have.
    #[error("{0} is not a field of this format")]
    Unknown(String),
    /// A field of the wrong kind.
    #[error("{field} must be {expected}")]
    Kind {
        /// Name of the field.
        field: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A list with the wrong number of elements.
    #[error("{field} has {found} elements, but the metadata asks for {expected}")]
    Count {
        /// Name of the list.
        field: String,
        /// Elements that it has.
        found: usize,
        /// Elements that it should have.
        expected: usize,
    },
    /// A number that float32 does not hold.
    #[error("{field} is {value}, which is not a finite float32")]
    NotFinite {
        /// Name and index of the number.
        field: String,
        /// The number as read.
        value: f64,
    },
    /// Two fields that contradict each other.
    #[error("{field} is {found}, but {reason} makes it {expected}")]
    Inconsistent {
        /// Name of the field.
        field: String,
        /// What it holds.
        found: i64,
        /// The field or rule it contradicts.
        reason: &'static str,
        /// What that rule gives.
        expected: i64,
    },
}
