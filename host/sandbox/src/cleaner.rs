//! The handle of a cleaner.
//!
//! Invariant: a cleaner sees and writes the feature columns that it was granted; every other column passes through untouched, less the
//! rows it dropped.

use arrow::array::ArrayRef;
use tidegate_vocab::Batch;
use wasmtime::component::Resource;

use crate::bindings::cleaner::CleanerPlugin;
use crate::call::CallError;
use crate::columns::{self, Lens};
use crate::grants::PluginSettings;
use crate::host::column::changed_cells;
use crate::host::editor::HostEditor;
use crate::host::rows::HostBatch;
use crate::instance::{Breach, Slot};
use crate::last_words::LastWords;
use crate::load::Plugin;

/// A cleaner in use.
pub struct Cleaner {
    slot: Slot<CleanerPlugin>,
}

/// What a cleaner made of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaned {
    /// The kept rows with their edits, in order; columns that are not features are the input's.
    pub rows: Batch,
    /// Number in the input and reason of each row that was dropped.
    pub dropped: Vec<(u32, String)>,
    /// Number in the input of each row of `rows`.
    pub kept: Vec<u32>,
    /// How much it changed.
    pub damage: Damage,
}

/// How much a cleaner changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Damage {
    /// Rows dropped.
    pub rows_dropped: u64,
    /// Columns before and after, of those that were edited.
    edited: Vec<(ArrayRef, ArrayRef)>,
}

impl Damage {
    /// Cells whose value differs from before, in dropped rows too. Counted when asked: a comparison costs as much as an edit.
    pub fn cells_changed(&self) -> u64 {
        self.edited.iter().map(|(before, after)| changed_cells(before, after)).sum()
    }
}

impl Plugin {
    /// A handle of this cleaner, configured and probed.
    ///
    /// # Errors
    /// [`CallError`] when the plugin is no cleaner, does not accept the configuration or cannot be started.
    pub fn cleaner(&self, settings: &PluginSettings) -> Result<Cleaner, CallError> {
        Ok(Cleaner { slot: Slot::new(self, settings)? })
    }
}

impl Cleaner {
    /// What it left behind in the last call that ended badly.
    pub fn last_words(&self) -> &LastWords {
        self.slot.last_words()
    }

    /// Cleans a batch.
    ///
    /// # Errors
    /// [`CallError`] when the plugin fails; nothing of its edits remains.
    pub fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError> {
        let grants = self.slot.settings().grants.clone();
        let lens = Lens::new(&grants, columns::cleaners);
        let view = HostBatch::new(rows.clone(), |name, role| lens.sees(name, role));
        self.slot.call("clean", |store, guest| {
            let state = store.data_mut();
            state.about_rows(view.batch.row_count());
            let reasons = std::sync::Arc::clone(&state.reasons);
            let editor = HostEditor::new(&view, reasons, |name, role| grants.edits(name, role));
            let table = &mut state.table;
            let edit = table.push(editor)?;
            let batch = table.push(view)?;
            let (lent_batch, lent_edit) = (Resource::new_borrow(batch.rep()), Resource::new_borrow(edit.rep()));
            let result = guest.tidegate_plugin_cleaner().call_clean(&mut *store, lent_batch, lent_edit)?;
            let state = store.data_mut();
            state.table.delete(batch)?;
            let editor = state.table.delete(edit)?;
            // The edits are the host's own from here on.
            state.limiter.let_go(editor.kept_bytes);
            if let Err(failure) = result {
                state.missed_column(lens, rows, &failure.message);
                return Ok(Err(failure.into()));
            }
            let edited = editor.finish();
            Ok(edited.map_err(|error| Breach::Misfit { wants: "edits that make a batch".into(), offers: error.to_string() }).map(
                |edited| {
                    let damage = Damage { rows_dropped: edited.dropped.len() as u64, edited: edited.edited };
                    Cleaned { rows: edited.rows, dropped: edited.dropped, kept: edited.kept, damage }
                },
            ))
        })
    }
}
