//! The identity of a cleaner chain.

use serde_json::Value;
use tidegate_vocab::{Contract, Digest};

/// Changes when the meaning of a cleaned part changes without its inputs, so that old parts are not taken for new ones.
const CLEAN_FORMAT: &[u8] = b"tidegate clean part 1";

/// The digest of a cleaner chain: component digests with their configurations, in order, and the contract. The order of keys in a
/// configuration does not matter.
pub fn chain_digest(cleaners: &[(Digest, Value)], contract: &Contract) -> Digest {
    let contract = serde_json::to_vec(contract).expect("a contract has no map with keys that are not text");
    let mut fields = vec![CLEAN_FORMAT.to_vec(), contract];
    for (component, config) in cleaners {
        fields.push(component.as_bytes().to_vec());
        fields.push(sorted(config).to_string().into_bytes());
    }
    Digest::of_fields(fields.iter().map(Vec::as_slice))
}

/// The same value with the keys of all its objects in order, whichever map `serde_json` was built with.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort();
            keys.into_iter().map(|key| (key.clone(), sorted(&object[key]))).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_vocab::{ContractColumn, DType, LabelColumn, Role};

    use super::*;

    fn contract(columns: &[&str]) -> Contract {
        let column = |name: &&str| ContractColumn {
            name: (*name).to_owned(),
            dtype: DType::F64,
            role: Role::Feature,
            nullable: false,
            low: None,
            high: None,
            categories: None,
        };
        let label = LabelColumn { column: "y".into(), classes: vec!["0".into(), "1".into()], delay_us: 0, by_id: false };
        Contract { id: None, time: None, label, columns: columns.iter().map(column).collect() }
    }

    #[test]
    fn depends_on_everything_that_decides_what_a_part_holds() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let base = chain_digest(&[(a, json!({"x": 1, "y": {"p": 1, "q": 2}})), (b, json!({}))], &contract(&["f"]));
        let same: Value = serde_json::from_str(r#"{"y": {"q": 2, "p": 1}, "x": 1}"#).expect("literal");
        assert_eq!(base, chain_digest(&[(a, same), (b, json!({}))], &contract(&["f"])));
        let others = [
            chain_digest(&[(b, json!({})), (a, json!({"x": 1, "y": {"p": 1, "q": 2}}))], &contract(&["f"])),
            chain_digest(&[(a, json!({"x": 2, "y": {"p": 1, "q": 2}})), (b, json!({}))], &contract(&["f"])),
            chain_digest(&[(a, json!({"x": 1, "y": {"p": 1, "q": 2}})), (b, json!({}))], &contract(&["f", "g"])),
            chain_digest(&[(a, json!({"x": 1, "y": {"p": 1, "q": 2}}))], &contract(&["f"])),
        ];
        assert!(others.iter().all(|other| *other != base));
    }
}
