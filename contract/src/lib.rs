#![no_std]
//! What every side of Annulus agrees on.
