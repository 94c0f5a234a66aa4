//! Hostile and friendly guests against the sandbox's public face. Guests are written as core modules in WAT and made components
//! here, so that no build step stands between a limit and its test.
#![expect(clippy::unwrap_used, reason = "tests")]

mod attacks;
mod columns;
mod contained;
mod damaged;
mod guest;
mod handles;
mod hostile;
mod last_words;
mod lent;
mod limits;
mod loading;
mod state;
