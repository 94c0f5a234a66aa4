//! Packing: a manifest into a component whose toolchain has no way of its own to embed one.

use crate::manifest::{self, Manifest, SECTION, Unreadable};

/// A component that a manifest could not be put into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The bytes are no component.
    #[error("it is not a WebAssembly component: {why}")]
    NotAComponent {
        /// What it is.
        why: String,
    },
    /// The manifest has a fault.
    #[error("its manifest cannot be used: {why}")]
    Manifest {
        /// The fault.
        why: String,
    },
    /// The component's own code embeds another one.
    #[error("the component embeds another manifest, of `{name}`")]
    Embedded {
        /// The name in that one.
        name: String,
    },
}

impl PackError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PackError::NotAComponent { .. } => Some("build it with `tidegate plugin build`".into()),
            PackError::Manifest { .. } => None,
            PackError::Embedded { .. } => Some("`export!` of the Rust SDK embeds `plugin.toml` when it is built: build it again".into()),
        }
    }
}

/// Reads the text of a `plugin.toml`.
///
/// # Errors
/// [`PackError::Manifest`] that says what is wrong with it.
pub fn read_manifest(text: &str) -> Result<Manifest, PackError> {
    manifest::parse(text.as_bytes()).map_err(|why| PackError::Manifest { why })
}

/// `component` with `manifest`, the text of a `plugin.toml`, in place of whatever was packed into it before.
///
/// # Errors
/// [`PackError`] when the bytes are no component, the manifest has a fault, or the component's code embeds another one.
pub fn pack(component: &[u8], manifest: &str) -> Result<Vec<u8>, PackError> {
    read_manifest(manifest)?;
    let damaged = |why: &str| PackError::NotAComponent { why: why.to_owned() };
    let outside = |bytes: &[u8]| {
        manifest::outside(bytes).map_err(|unreadable| match unreadable {
            Unreadable::NotWasm => damaged("other bytes"),
            Unreadable::CoreModule => damaged("a core module"),
            Unreadable::Damaged(why) => damaged(&why),
        })
    };
    outside(component)?;
    let mut packed = component.get(..HEADER_BYTES).ok_or_else(|| damaged("it ends early"))?.to_vec();
    let mut rest = &component[HEADER_BYTES..];
    while !rest.is_empty() {
        let (section, behind) = split_section(rest).ok_or_else(|| damaged("it ends early"))?;
        if !is_manifest(section) {
            packed.extend_from_slice(section);
        }
        rest = behind;
    }
    if let Some(embedded) = outside(&packed)?.manifest {
        if embedded == manifest.as_bytes() {
            return Ok(packed);
        }
        let name = manifest::parse(&embedded).map_or_else(|_| "no readable name".to_owned(), |manifest| manifest.name);
        return Err(PackError::Embedded { name });
    }
    let mut body = leb(SECTION.len());
    body.extend_from_slice(SECTION.as_bytes());
    body.extend_from_slice(manifest.as_bytes());
    packed.push(CUSTOM);
    packed.extend(leb(body.len()));
    packed.extend(body);
    Ok(packed)
}

/// Magic number and version.
const HEADER_BYTES: usize = 8;
/// The id of a custom section.
const CUSTOM: u8 = 0;

/// The first section, with its id and length, and what is behind it.
fn split_section(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, start) = read_leb(bytes.get(1..)?)?;
    let end = (1 + start).checked_add(length)?;
    (end <= bytes.len()).then(|| bytes.split_at(end))
}

/// Whether a section is a custom one with the manifest's name.
fn is_manifest(section: &[u8]) -> bool {
    let name = || {
        let (_, start) = read_leb(&section[1..])?;
        let body = section.get(1 + start..)?;
        let (length, start) = read_leb(body)?;
        body.get(start..start.checked_add(length)?)
    };
    section.first() == Some(&CUSTOM) && name() == Some(SECTION.as_bytes())
}

/// An unsigned number in LEB128 and how many bytes it took.
fn read_leb(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "name = 'a'\nkind = 'cleaner'\nversion = '1'\ninterface = '0.1'";

    #[test]
    fn a_manifest_is_packed_once_however_often() {
        let empty = wat::parse_str("(component)").unwrap();
        let once = pack(&empty, MANIFEST).unwrap();
        assert_eq!(manifest::outside(&once).unwrap().manifest.as_deref(), Some(MANIFEST.as_bytes()));
        assert_eq!(pack(&once, MANIFEST).unwrap(), once);
        let other = MANIFEST.replace("'a'", "'b'").replace("'1'", &format!("'{}'", "1".repeat(300)));
        let again = pack(&once, &other).unwrap();
        assert_eq!(manifest::outside(&again).unwrap().manifest.as_deref(), Some(other.as_bytes()));
    }

    #[test]
    fn a_manifest_that_the_code_embeds_is_not_contradicted() {
        let embedded = format!("(component (core module (@custom \"{SECTION}\" \"{MANIFEST}\")))").replace('\n', "\\n");
        let embedded = wat::parse_str(embedded).unwrap();
        assert_eq!(pack(&embedded, MANIFEST).unwrap(), embedded);
        let error = pack(&embedded, &MANIFEST.replace("'a'", "'b'")).unwrap_err();
        assert_eq!(error, PackError::Embedded { name: "a".into() });
    }

    #[test]
    fn what_is_no_component_or_no_manifest_is_named() {
        let refused = |bytes: &[u8], manifest: &str| pack(bytes, manifest).unwrap_err().to_string();
        assert_eq!(refused(b"PK", MANIFEST), "it is not a WebAssembly component: other bytes");
        assert_eq!(refused(b"\0asm\x01\0\0\0", MANIFEST), "it is not a WebAssembly component: a core module");
        assert!(refused(b"\0asm\x0d\0\x01\0", "name = 'a'").contains("missing field `kind`"));
    }
}
