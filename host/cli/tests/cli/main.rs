//! The real program, as scripts and people call it.

mod bench;
mod errors;
mod fetch;
mod guide;
mod json;
mod run;
mod server;
mod text;
