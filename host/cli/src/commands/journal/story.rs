//! What an entry of the journal says, as a sentence. The entry itself is JSON, and stays the record.

use serde_json::Value;

use crate::config::section::grouped;

/// Characters of an entry without words of its own that are shown.
const BODY_CHARS_MAX: usize = 100;

/// The entry in words; its first characters where it has none.
pub fn sentence(kind: &str, body: &Value) -> String {
    let told = body["told"].as_str().map(str::to_owned);
    told.or_else(|| words(kind, body)).unwrap_or_else(|| body.to_string().chars().take(BODY_CHARS_MAX).collect())
}

fn words(kind: &str, body: &Value) -> Option<String> {
    let text = |key: &str| body[key].as_str();
    let number = |key: &str| body[key].as_u64();
    Some(match kind {
        "ingest" => {
            let [from, to] = pair(&body["rows"])?;
            format!("{} rows came: {from} to {}", grouped(to - from), to.saturating_sub(1))
        }
        "clean" => {
            let parts = body["parts"].as_array()?;
            let sum = |key: &str| parts.iter().filter_map(|part| part[key].as_u64()).sum::<u64>();
            format!("{} rows cleaned, {} quarantined", grouped(sum("kept") + sum("quarantined")), grouped(sum("quarantined")))
        }
        "run" => {
            let why = text("trigger").map(|trigger| format!(": {trigger}")).unwrap_or_default();
            format!("run-{} is {}{why}", number("run")?, text("to")?)
        }
        "version" => {
            let number = number("version").or_else(|| body["trained"]["number"].as_u64())?;
            format!("v{number} is {}", text("to")?)
        }
        "alias" => match number("from") {
            Some(from) => format!("{} moves from v{from} to v{}", text("alias")?, number("to")?),
            None => format!("{} is v{}", text("alias")?, number("to")?),
        },
        "decision" => {
            let decision = &body["decision"];
            format!("v{}: {}", decision["version"].as_u64()?, decision["reason"].as_str()?)
        }
        "rollout" => format!("v{} in its {}: {}", number("version")?, text("stage")?, text("reason")?),
        "guard" => format!("v{} against v{}: {}", number("version")?, number("before")?, text("reason")?),
        "drift" => format!("against the rows of v{}: {}", number("version")?, text("reason")?),
        "labels" => format!("{} labels came by id", grouped(number("count")?)),
        "contract" => format!("the contract was accepted by {}: {}", text("by")?, text("reason")?),
        "strike" => format!(
            "{} failed in step {} ({}), strike {} of {}: {}",
            text("plugin")?,
            text("step")?,
            text("outcome")?,
            number("strikes")?,
            number("strikes_max")?,
            text("why")?
        ),
        "plugin-quarantined" => format!("{} is no longer called: {}", text("plugin")?, text("why")?),
        "plugin-released" => format!("{} is called again, because {} said so: {}", text("plugin")?, text("by")?, text("reason")?),
        "dead-letter" => {
            let [from, to] = pair(&body["rows"])?;
            format!("rows {from} to {to} were set aside as dead letter {}: {}", number("number")?, text("why")?)
        }
        "dead-letter-cleaned" => {
            let [from, to] = pair(&body["rows"])?;
            format!("rows {from} to {to} of dead letter {} are back in their place", number("number")?)
        }
        "dead-letter-dropped" => {
            let [from, to] = pair(&body["rows"])?;
            let (by, reason) = (text("by")?, text("reason")?);
            format!("rows {from} to {to} of dead letter {} were given up by {by}: {reason}", number("number")?)
        }
        _ => return None,
    })
}

fn pair(value: &Value) -> Option<[u64; 2]> {
    Some([value[0].as_u64()?, value[1].as_u64()?])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(kind: &str, body: Value, expected: &str) {
        assert_eq!(sentence(kind, &body), expected);
    }

    #[test]
    fn entries_read_as_sentences() {
        check("ingest", json!({ "rows": [1300, 2700] }), "1,400 rows came: 1300 to 2699");
        check(
            "clean",
            json!({ "parts": [{ "kept": 3, "quarantined": 1 }, { "kept": 4, "quarantined": 0 }] }),
            "8 rows cleaned, 1 quarantined",
        );
        check("run", json!({ "run": 3, "from": null, "to": "queued", "trigger": "by hand" }), "run-3 is queued: by hand");
        check("version", json!({ "from": null, "to": "challenger", "trained": { "number": 2 } }), "v2 is challenger");
        check("alias", json!({ "alias": "champion", "from": 1, "to": 2 }), "champion moves from v1 to v2");
        check("alias", json!({ "alias": "anchor", "from": null, "to": 1 }), "anchor is v1");
        check("decision", json!({ "decision": { "version": 2, "reason": "promoted" } }), "v2: promoted");
        check("dead-letter-cleaned", json!({ "rows": [7, 9], "number": 1 }), "rows 7 to 9 of dead letter 1 are back in their place");
        check("plugin", json!({ "told": "csv: replaced" }), "csv: replaced");
        check("settings", json!({ "told": "settings: taken up", "result": "applied" }), "settings: taken up");
        let rollout = json!({ "version": 2, "stage": "canary", "verdict": "next-step", "reason": "next step: 5.0 % follow" });
        check("rollout", rollout, "v2 in its canary: next step: 5.0 % follow");
        let guard = json!({ "version": 2, "before": 1, "reason": "settled: right about 80.0 % of 5,000 rows" });
        check("guard", guard, "v2 against v1: settled: right about 80.0 % of 5,000 rows");
        check("drift", json!({ "version": 2, "drifts": true, "reason": "1 of 2 features" }), "against the rows of v2: 1 of 2 features");
        let strike =
            json!({ "plugin": "csv", "step": "source", "outcome": "trapped", "why": "it stopped", "strikes": 1, "strikes_max": 3 });
        check("strike", strike, "csv failed in step source (trapped), strike 1 of 3: it stopped");
        // Of a kind, or a shape, that nobody has words for.
        check("note", json!({ "a": 1 }), r#"{"a":1}"#);
        check("run", json!({}), "{}");
    }
}
