//! The program, run on regions that the tests make.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test panics, and so do its helpers")]

mod commands;
mod fixture;
