//! Byte streams that the operator lends by name.

use crate::Failure;
use crate::host::inputs;

/// A lent byte stream, read by ranges.
pub struct Input {
    input: inputs::Input,
}

impl Input {
    /// Names under a lent folder or prefix; the name itself for a single file.
    ///
    /// # Errors
    /// When nothing of that name was lent.
    pub fn entries(name: &str) -> Result<Vec<String>, Failure> {
        inputs::entries(name).map_err(Failure::from_host)
    }

    /// Opens one entry.
    ///
    /// # Errors
    /// When nothing of that name was lent, or it cannot be opened.
    pub fn open(entry: &str) -> Result<Input, Failure> {
        Ok(Input { input: inputs::open(entry).map_err(Failure::from_host)? })
    }

    /// Bytes there are now.
    ///
    /// # Errors
    /// When the host cannot tell.
    pub fn byte_count(&self) -> Result<u64, Failure> {
        self.input.byte_count().map_err(Failure::from_host)
    }

    /// A word that changes when bytes before the end changed, not when the input grew.
    ///
    /// # Errors
    /// When the host cannot tell.
    pub fn generation(&self) -> Result<String, Failure> {
        self.input.generation().map_err(Failure::from_host)
    }

    /// At most `count` bytes from `offset`; fewer only at the end.
    ///
    /// # Errors
    /// When the host cannot read, or `count` is over its limit.
    pub fn read(&self, offset: u64, count: u32) -> Result<Vec<u8>, Failure> {
        self.input.read(offset, count).map_err(Failure::from_host)
    }
}
