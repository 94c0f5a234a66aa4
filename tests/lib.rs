//! Integration tests of Tidegate: one test binary (`it/`) that drives the built `tidegate` with real plugins.
//!
//! This library is empty on purpose: cargo wants one beside the test binary, and the tests share code through modules of `it/`.
