//! The state of a cleaner, kept for the thread of the test: a call that fails leaves it as it was.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::rows::DataError;

#[derive(Debug, Clone)]
pub struct ByteValues {
    pub offsets: Vec<u32>,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Found {
    pub present: Vec<u8>,
    pub values: ByteValues,
}

thread_local! { pub static KEPT: RefCell<BTreeMap<Vec<u8>, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) }; }

impl ByteValues {
    fn pieces(&self) -> Result<Vec<&[u8]>, DataError> {
        let wrong =
            || DataError { code: 4, message: format!("offsets must rise from 0 to the {} bytes that they divide", self.bytes.len()) };
        let (first, last) = (self.offsets.first().copied().unwrap_or(0), self.offsets.last().copied().unwrap_or(0));
        if first != 0 || last as usize != self.bytes.len() {
            return Err(wrong());
        }
        self.offsets.windows(2).map(|pair| self.bytes.get(pair[0] as usize..pair[1] as usize).ok_or_else(wrong)).collect()
    }
}

pub fn get(key: &[u8]) -> Result<Option<Vec<u8>>, DataError> {
    Ok(KEPT.with_borrow(|kept| kept.get(key).cloned()))
}

pub fn set(key: &[u8], value: &[u8]) -> Result<(), DataError> {
    KEPT.with_borrow_mut(|kept| kept.insert(key.to_vec(), value.to_vec()));
    Ok(())
}

pub fn remove(key: &[u8]) -> Result<(), DataError> {
    KEPT.with_borrow_mut(|kept| kept.remove(key));
    Ok(())
}

pub fn get_many(keys: &ByteValues) -> Result<Found, DataError> {
    let mut found = Found { present: Vec::new(), values: ByteValues { offsets: vec![0], bytes: Vec::new() } };
    for key in keys.pieces()? {
        let value = get(key)?;
        found.present.push(u8::from(value.is_some()));
        found.values.bytes.extend(value.unwrap_or_default());
        found.values.offsets.push(found.values.bytes.len() as u32);
    }
    Ok(found)
}

pub fn set_many(keys: &ByteValues, values: &ByteValues) -> Result<(), DataError> {
    let (keys, values) = (keys.pieces()?, values.pieces()?);
    if keys.len() != values.len() {
        return Err(DataError { code: 4, message: format!("{} keys and {} values", keys.len(), values.len()) });
    }
    keys.into_iter().zip(values).try_for_each(|(key, value)| set(key, value))
}

pub fn remove_many(keys: &ByteValues) -> Result<(), DataError> {
    keys.pieces()?.into_iter().try_for_each(remove)
}

pub fn add_many(keys: &ByteValues) -> Result<Vec<u8>, DataError> {
    let add =
        |key: &[u8]| KEPT.with_borrow_mut(|kept| u8::from(!kept.contains_key(key) && kept.insert(key.to_vec(), Vec::new()).is_none()));
    Ok(keys.pieces()?.into_iter().map(add).collect())
}
