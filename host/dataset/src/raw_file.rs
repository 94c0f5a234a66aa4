//! Raw parts: rows as a source gave them, as an uncompressed Arrow IPC file.
//!
//! Invariant: reading back what was written gives the same batch, roles included; the same batch gives the same bytes.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use bytes::Bytes;
use tidegate_vocab::{Batch, DType, Role};

use crate::DatasetError;

/// Key of a field's metadata under which its role stands.
pub(crate) const ROLE_KEY: &str = "tidegate:role";

/// The Arrow file of a raw batch.
///
/// # Errors
/// [`DatasetError::WriteRaw`], which no batch of our types should cause.
pub fn encode_raw(rows: &Batch) -> Result<Bytes, DatasetError> {
    let written = || -> Result<Vec<u8>, ArrowError> {
        // Buffers of a slice are cut to it by the writer, so this is at least the size and the file is never copied to grow.
        let mut bytes = Vec::with_capacity(rows.rows.get_array_memory_size() + 4096);
        let batch = with_roles(rows)?;
        let mut writer = FileWriter::try_new(&mut bytes, batch.schema_ref())?;
        writer.write(&batch)?;
        writer.finish()?;
        drop(writer);
        Ok(bytes)
    };
    written().map(Bytes::from).map_err(|source| DatasetError::WriteRaw { source })
}

/// The batch of a raw part's file.
///
/// # Errors
/// [`DatasetError::ReadRaw`] or [`DatasetError::NotAPart`] for bytes that [`encode_raw`] did not write.
pub fn decode_raw(bytes: &Bytes) -> Result<Batch, DatasetError> {
    let failed = |source| DatasetError::ReadRaw { source };
    let mut reader = FileReader::try_new(Cursor::new(bytes), None).map_err(failed)?;
    let rows = match (reader.next(), reader.next()) {
        (Some(rows), None) => rows.map_err(failed)?,
        _ => return Err(DatasetError::NotAPart { why: "a raw part holds exactly one batch".into() }),
    };
    let roles = rows.schema_ref().fields().iter().map(|field| role_of(field)).collect::<Result<Vec<_>, _>>()?;
    without_metadata(rows, roles)
}

/// The rows with each column's role in its field's metadata.
pub(crate) fn with_roles(batch: &Batch) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<Field> = batch
        .columns()
        .map(|(name, role, array)| {
            let metadata = HashMap::from([(ROLE_KEY.to_owned(), role.word())]);
            Field::new(name, array.data_type().clone(), true).with_metadata(metadata)
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.row_count()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), batch.rows.columns().to_vec(), &options)
}

pub(crate) fn role_of(field: &Field) -> Result<Role, DatasetError> {
    let not_a_part = |why: String| DatasetError::NotAPart { why };
    let word = field.metadata().get(ROLE_KEY).ok_or_else(|| not_a_part(format!("column `{}` has no `{ROLE_KEY}`", field.name())))?;
    Role::from_word(word).ok_or_else(|| not_a_part(format!("column `{}` has the unknown role `{word}`", field.name())))
}

/// A batch of rows read from a file: its fields carry no metadata, as those of every batch in memory.
pub(crate) fn without_metadata(rows: RecordBatch, roles: Vec<Role>) -> Result<Batch, DatasetError> {
    let (schema, columns, row_count) = rows.into_parts();
    let fields: Vec<Field> = schema.fields().iter().map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect();
    if let Some(field) = fields.iter().find(|field| DType::of(field.data_type()).is_none()) {
        return Err(DatasetError::NotAPart { why: format!("column `{}` is of type {}", field.name(), field.data_type()) });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(row_count));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|source| DatasetError::Rows { source })?;
    Ok(Batch { rows, roles })
}
