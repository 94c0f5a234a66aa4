//! The handle of a cleaner.
//!
//! Invariant: a cleaner sees and writes the feature columns that it was granted; every other column passes through untouched, less the
//! rows it dropped.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::ArrayRef;
use tidegate_vocab::{Batch, KeptRows, StateChanges, StateEntries};
use wasmtime::component::Resource;

use crate::bindings::cleaner::CleanerPlugin;
use crate::call::CallError;
use crate::columns::{self, Lens};
use crate::grants::{Grants, PluginSettings};
use crate::host::column::changed_cells;
use crate::host::editor::HostEditor;
use crate::host::rows::HostBatch;
use crate::host::state::Touched;
use crate::instance::{Breach, Slot};
use crate::last_words::LastWords;
use crate::load::Plugin;
use crate::manifest::StateKind;

/// A cleaner in use.
pub struct Cleaner {
    slot: Slot<CleanerPlugin>,
    /// Those of its settings, which a call needs while it changes the slot.
    grants: Arc<Grants>,
    /// The keys of its state that the last call used.
    touched: Arc<Mutex<Touched>>,
}

/// What a cleaner made of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaned {
    /// The kept rows with their edits, in order; columns that are not features are the input's.
    pub rows: Batch,
    /// Number in the input and reason of each row that was dropped.
    pub dropped: Vec<(u32, String)>,
    /// Which rows of the input those of `rows` are.
    pub kept: KeptRows,
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
        Ok(Cleaner { slot: Slot::new(self, settings)?, grants: Arc::new(settings.grants.clone()), touched: Arc::default() })
    }
}

impl Cleaner {
    /// What it left behind in the last call that ended badly.
    pub fn last_words(&self) -> &LastWords {
        self.slot.last_words()
    }

    /// Whether it keeps state from batch to batch: its results depend on the batches before.
    pub fn keeps_state(&self) -> bool {
        self.slot.manifest().state == StateKind::Keyed
    }

    /// The keys of its state that the last call used, whether it ended well or not; some more than once.
    pub fn state_keys(&self) -> Vec<Box<[u8]>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).keys().map(Box::from).collect()
    }

    /// Cleans a batch; one that keeps state, as the first batch that it is given.
    ///
    /// # Errors
    /// [`CallError`] when the plugin fails; nothing of its edits remains.
    pub fn clean(&mut self, rows: &Batch) -> Result<Cleaned, CallError> {
        self.clean_keeping(rows, &Arc::default()).map(|(cleaned, _)| cleaned)
    }

    /// Cleans a batch with the state that was kept until now; what it changes of that, for the caller to keep or to drop.
    ///
    /// # Errors
    /// [`CallError`] when the plugin fails; nothing of its edits and changes remains.
    pub fn clean_keeping(&mut self, rows: &Batch, kept: &Arc<StateEntries>) -> Result<(Cleaned, StateChanges), CallError> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let lent = self.keeps_state().then(|| (Arc::clone(kept), Arc::clone(&self.touched)));
        let grants = Arc::clone(&self.grants);
        let lens = Lens::new(&grants, columns::cleaners);
        let view = HostBatch::new(rows.clone(), |name, role| lens.sees(name, role));
        self.slot.call("clean", |store, guest| {
            let state = store.data_mut();
            state.about_rows(view.batch.row_count());
            if let Some((kept, touched)) = lent {
                state.state.lend(kept, touched);
            }
            let reasons = Arc::clone(&state.reasons);
            let editor = HostEditor::new(&view, reasons, |name, role| grants.edits(name, role));
            let table = &mut state.table;
            let edit = table.push(editor)?;
            let batch = table.push(view)?;
            let (lent_batch, lent_edit) = (Resource::new_borrow(batch.rep()), Resource::new_borrow(edit.rep()));
            let result = guest.tidegate_plugin_cleaner().call_clean(&mut *store, lent_batch, lent_edit)?;
            let state = store.data_mut();
            state.table.delete(batch)?;
            let editor = state.table.delete(edit)?;
            // Edits and changes are the host's own from here on.
            let (changes, kept_bytes) = state.state.take_back();
            state.limiter.let_go(editor.kept_bytes + kept_bytes);
            if let Err(failure) = result {
                state.missed_column(lens, rows, &failure.message);
                return Ok(Err(failure.into()));
            }
            let edited = editor.finish();
            Ok(edited.map_err(|error| Breach::Misfit { wants: "edits that make a batch".into(), offers: error.to_string() }).map(
                |edited| {
                    let damage = Damage { rows_dropped: edited.dropped.len() as u64, edited: edited.edited };
                    (Cleaned { rows: edited.rows, dropped: edited.dropped, kept: edited.kept, damage }, changes)
                },
            ))
        })
    }
}
