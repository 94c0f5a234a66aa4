//! The handle of a source.
//!
//! Invariant: rows and their cursor are handed out together; whoever keeps them keeps both or neither.

use tidegate_vocab::Batch;
use wasmtime::component::ResourceAny;

use crate::bindings::source::SourcePlugin;
use crate::bindings::source::exports::tidegate::plugin::source::Pull as GuestPull;
use crate::call::CallError;
use crate::grants::PluginSettings;
use crate::host::rows::HostBatch;
use crate::instance::{Breach, Slot};
use crate::last_words::LastWords;
use crate::load::Plugin;

/// Bytes of a cursor; it is stored with every part.
pub const CURSOR_BYTES_MAX: usize = 1 << 16;

/// A source in use. Not shared: one reader, one cursor.
pub struct Source {
    slot: Slot<SourcePlugin>,
    reader: Option<ResourceAny>,
    cursor: Option<Vec<u8>>,
}

/// What a source has.
#[derive(Debug, Clone, PartialEq)]
pub enum Pull {
    /// Rows, and where to go on after them.
    Rows {
        /// The rows.
        rows: Batch,
        /// Opaque to the host; commit it with the rows.
        cursor: Vec<u8>,
    },
    /// Nothing now.
    Idle {
        /// When to ask again, in milliseconds.
        retry_ms: u32,
    },
    /// Nothing ever again.
    Finished,
}

impl Plugin {
    /// A handle of this source, configured and probed. Reading starts at the beginning unless [`Source::open`] says otherwise.
    ///
    /// # Errors
    /// [`CallError`] when the plugin is no source, does not accept the configuration or cannot be started.
    pub fn source(&self, settings: &PluginSettings) -> Result<Source, CallError> {
        Ok(Source { slot: Slot::new(self, settings)?, reader: None, cursor: None })
    }
}

impl Source {
    /// What it left behind in the last call that ended badly.
    pub fn last_words(&self) -> &LastWords {
        self.slot.last_words()
    }

    /// Goes on after `cursor`, or from the beginning.
    ///
    /// # Errors
    /// [`CallError`] when the plugin cannot; the next call tries again from the same cursor.
    pub fn open(&mut self, cursor: Option<&[u8]>) -> Result<(), CallError> {
        self.cursor = cursor.map(<[u8]>::to_vec);
        if self.reader.take().is_some() {
            // A reader's destructor is the guest's code; a fresh instance spares running it.
            self.slot.reset();
        }
        self.reopen()
    }

    fn reopen(&mut self) -> Result<(), CallError> {
        let cursor = self.cursor.as_deref();
        let reader =
            self.slot.call("open", |store, guest| Ok(guest.tidegate_plugin_source().call_open(store, cursor)?.map_err(Breach::from)))?;
        self.reader = Some(reader);
        Ok(())
    }

    /// The next rows: at most `rows_max`, of about at most `bytes_max` bytes. After a failed call it goes on after the rows that it
    /// handed out last; after a failed commit, [`Source::open`] with the committed cursor.
    ///
    /// # Errors
    /// [`CallError`] when the plugin fails, or returns what it may not.
    pub fn next(&mut self, rows_max: u32, bytes_max: u64) -> Result<Pull, CallError> {
        if self.reader.is_none() || !self.slot.is_live() {
            self.reader = None;
            self.reopen()?;
        }
        let reader = self.reader.expect("it was opened above");
        let result = self.slot.call("next", |store, guest| {
            store.data_mut().about_rows(rows_max as usize);
            let pulled = match guest.tidegate_plugin_source().reader().call_next(&mut *store, reader, rows_max, bytes_max)? {
                Ok(GuestPull::Rows(pulled)) => pulled,
                Ok(GuestPull::Idle(retry_ms)) => return Ok(Ok(Pull::Idle { retry_ms })),
                Ok(GuestPull::Finished) => return Ok(Ok(Pull::Finished)),
                Err(failure) => return Ok(Err(failure.into())),
            };
            let state = store.data_mut();
            let rows: HostBatch = state.table.delete(pulled.rows)?;
            state.limiter.let_go(rows.kept_bytes);
            Ok(checked(rows.batch, pulled.cursor, rows_max))
        });
        if result.is_err() {
            self.reader = None;
        }
        if let Ok(Pull::Rows { cursor, .. }) = &result {
            self.cursor = Some(cursor.clone());
        }
        result
    }
}

fn checked(rows: Batch, cursor: Vec<u8>, rows_max: u32) -> Result<Pull, Breach> {
    let misfit = |wants: String, offers: String| Err(Breach::Misfit { wants, offers });
    if rows.row_count() > rows_max as usize {
        return misfit(format!("at most {rows_max} rows"), format!("{} rows", rows.row_count()));
    }
    if cursor.len() > CURSOR_BYTES_MAX {
        return misfit(format!("a cursor of at most {CURSOR_BYTES_MAX} bytes"), format!("{} bytes", cursor.len()));
    }
    if rows.roles.is_empty() {
        return misfit("a batch with columns".into(), "a batch without any".into());
    }
    Ok(Pull::Rows { rows, cursor })
}
