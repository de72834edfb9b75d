//! The real program, as scripts and people call it.

mod bench;
mod errors;
mod fetch;
mod guide;
mod json;
mod long;
mod run;
#[cfg(unix)]
mod serial;
mod server;
mod text;
