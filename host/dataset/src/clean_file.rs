//! Cleaned parts: Parquet files that any Parquet reader opens.
//!
//! Columns: [`RowColumns`] first, then those of [`typed`](crate::typed()). The row number has the role `id`, both times the role
//! `time`. Roles stand in the fields' metadata, the contract as JSON under `tidegate:contract` in the file's.
//!
//! Invariant: the same rows and contract give the same bytes; nothing of the time, the machine or the threads is in them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Field;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;
use tidegate_vocab::{Batch, Contract, DType, Role, RowColumns};

use crate::DatasetError;
use crate::raw_file::{role_of, with_roles, without_metadata};

/// Key of the file's metadata under which the contract stands.
const CONTRACT_KEY: &str = "tidegate:contract";
/// Who wrote the file. Without a version, so that a new release derives the same digests.
const CREATED_BY: &str = "tidegate";
/// Rows of one row group; a part of one poll has one.
const ROW_GROUP_ROWS_MAX: usize = 1 << 20;
/// Bytes of one data page. Pages are read whole, so they are large.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// The Parquet file of cleaned rows.
///
/// # Errors
/// [`DatasetError::WriteClean`], which no batch of our types should cause.
pub fn encode_clean(rows: &Batch, contract: &Contract) -> Result<Bytes, DatasetError> {
    let written = || -> Result<Vec<u8>, ParquetError> {
        let batch = with_roles(rows)?;
        let properties = properties(rows, contract);
        let bytes = Vec::with_capacity(rows.rows.get_array_memory_size());
        let writer = ArrowWriter::try_new(bytes, batch.schema(), Some(properties))?;
        let (mut file, groups) = writer.into_serialized_writer()?;
        for (index, start) in (0..batch.num_rows()).step_by(ROW_GROUP_ROWS_MAX).enumerate() {
            let group = batch.slice(start, ROW_GROUP_ROWS_MAX.min(batch.num_rows() - start));
            let columns = encode_columns(&group, groups.create_column_writers(index)?)?;
            let mut writer = file.next_row_group()?;
            for column in columns {
                column.append_to_row_group(&mut writer)?;
            }
            writer.close()?;
        }
        file.into_inner()
    };
    written().map(Bytes::from).map_err(|source| DatasetError::WriteClean { source })
}

/// The columns of one row group, each encoded on its own, so that all processors have a share; the order of the result is that
/// of the columns.
fn encode_columns(group: &RecordBatch, writers: Vec<ArrowColumnWriter>) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    let schema = group.schema();
    let columns: Vec<_> = schema.fields().iter().zip(group.columns()).zip(writers).collect();
    let encode = |((field, array), mut writer): ((&Arc<Field>, &ArrayRef), ArrowColumnWriter)| {
        // Our types have no children, so a column has one leaf.
        for leaf in compute_leaves(field, array)? {
            writer.write(&leaf)?;
        }
        writer.close()
    };
    columns.into_par_iter().map(encode).collect()
}

/// Measured on numbers of weather: a dictionary or a compressor costs more time than the disk it saves. Texts repeat, so they have
/// both; row numbers and times are near-linear, so they are stored as differences.
fn properties(rows: &Batch, contract: &Contract) -> WriterProperties {
    let contract = serde_json::to_string(contract).expect("a contract has no map with keys that are not text");
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.into())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(vec![KeyValue::new(CONTRACT_KEY.into(), contract)]));
    for (name, role, array) in rows.columns() {
        let path = ColumnPath::from(name);
        match DType::of(array.data_type()) {
            // Ids do not repeat.
            Some(DType::Utf8) if *role == Role::Id => properties = properties.set_column_compression(path, Compression::SNAPPY),
            Some(DType::Utf8) => {
                properties = properties.set_column_dictionary_enabled(path.clone(), true).set_column_compression(path, Compression::SNAPPY);
            }
            _ if is_row_column(name) => properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            _ => {}
        }
    }
    properties.build()
}

fn is_row_column(name: &str) -> bool {
    [RowColumns::ROW, RowColumns::EVENT_TIME, RowColumns::KNOWN_TIME].contains(&name)
}

/// The rows of a cleaned part's file, all its columns with their roles.
///
/// # Errors
/// [`DatasetError::ReadClean`] or [`DatasetError::NotAPart`] for bytes that [`encode_clean`] did not write.
pub fn decode_clean(bytes: &Bytes) -> Result<Batch, DatasetError> {
    let read = || -> Result<RecordBatch, ParquetError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?;
        let schema = Arc::clone(builder.schema());
        let row_count = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let batches = builder.with_batch_size(row_count.clamp(1, ROW_GROUP_ROWS_MAX)).build()?.collect::<Result<Vec<_>, _>>()?;
        match <[RecordBatch; 1]>::try_from(batches) {
            Ok([batch]) => Ok(batch),
            Err(batches) => Ok(concat_batches(&schema, &batches)?),
        }
    };
    let rows = read().map_err(|source| DatasetError::ReadClean { source })?;
    if rows.schema_ref().index_of(RowColumns::ROW).is_err() {
        return Err(DatasetError::NotAPart { why: format!("it has no column `{}`", RowColumns::ROW) });
    }
    let roles = rows.schema_ref().fields().iter().map(|field| role_of(field)).collect::<Result<Vec<_>, _>>()?;
    without_metadata(rows, roles)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::executor::block_on;
    use proptest::prelude::*;
    use tidegate_store::Blobs as _;
    use tidegate_vocab::{Digest, Role};

    use super::*;
    use crate::sample::{MemoryBlobs, column, contract, stored, text};
    use crate::{decode_raw, encode_raw};

    #[test]
    fn cleaned_parts_read_back_and_have_the_same_bytes_again() {
        let blobs = MemoryBlobs::default();
        let part = stored(&blobs, 40, &[(0, "0"), (1, "-"), (2, "1")]);
        let bytes = block_on(blobs.get(&part.digest)).unwrap();
        let rows = decode_clean(&bytes).unwrap();
        let names: Vec<&str> = rows.columns().map(|(name, ..)| name).collect();
        assert_eq!(names, [RowColumns::ROW, RowColumns::EVENT_TIME, RowColumns::KNOWN_TIME, "day", "rain", "x"]);
        assert_eq!(rows.roles, [Role::Id, Role::Time, Role::Time, Role::Id, Role::Label, Role::Feature]);
        let contract = contract(vec![column("x", DType::F64)]);
        assert_eq!(encode_clean(&rows, &contract).unwrap(), bytes);
        // Pinned: other bytes mean that every part is derived anew after an update.
        assert_eq!(Digest::of(&bytes).short(), "7dca9397ca6e");
    }

    #[test]
    fn files_of_others_are_refused() {
        assert!(matches!(decode_clean(&Bytes::from_static(b"PAR1")), Err(DatasetError::ReadClean { .. })));
        assert!(matches!(decode_raw(&Bytes::new()), Err(DatasetError::ReadRaw { .. })));
        let raw = text(&[("a", &["1"])]);
        let not_cleaned = encode_clean(&raw, &contract(vec![])).unwrap();
        assert!(matches!(decode_clean(&not_cleaned), Err(DatasetError::NotAPart { .. })));
    }

    proptest! {
        #[test]
        fn raw_parts_read_back(cells in prop::collection::vec(".{0,6}", 0..20), from in 0usize..20) {
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            let mut raw = text(&[("a.b", &cells), ("", &cells)]);
            raw.roles = vec![Role::Id, Role::Probability("x".into())];
            let from = from.min(cells.len());
            let raw = raw.slice(from, cells.len() - from);
            let bytes = encode_raw(&raw).unwrap();
            prop_assert_eq!(&decode_raw(&bytes).unwrap(), &raw);
            prop_assert_eq!(encode_raw(&raw).unwrap(), bytes);
        }
    }
}
