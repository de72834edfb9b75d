//! The real program, as scripts and people call it.

mod bench;
mod compare;
mod cuda;
mod errors;
mod fetch;
mod guide;
mod json;
mod long;
mod run;
mod server;
mod text;
