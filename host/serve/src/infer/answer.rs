//! From the rows of a request to what a version says about them: cleaners, contract, model. Blocks as long as the cleaners do.

use http::StatusCode;
use tidegate_model::{PredictError, Predictions};
use tidegate_vocab::{Batch, ContractColumn, Timestamp};
use tracing::error;

use super::plan;
use crate::ports::Arm;
use crate::refusal::Refusal;

/// Rows that a refusal names; there may be thousands.
const ROWS_NAMED_MAX: usize = 5;

/// Runs `rows` through the cleaners of `arm`, in order, adds what was known of earlier rows at `now`, and asks its model.
pub(crate) fn answer(arm: &Arm, features: &[ContractColumn], rows: &Batch, now: Timestamp) -> Result<Predictions, Refusal> {
    let cleaned = clean(arm, rows)?;
    let rows = cleaned.as_ref().unwrap_or(rows);
    if let Some((row, why, is_missing)) = plan::first_breach(rows, features) {
        // A value that was not sent is the request's fault, unless a cleaner was there to put one in its place.
        let status = if is_missing && arm.cleaners.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::UNPROCESSABLE_ENTITY };
        let sentence = format!("row {row}: {why}; the model learned from no such row, send one that keeps the contract");
        return Err(Refusal::new(status, sentence));
    }
    let lagged = arm.lagged(rows, now).map_err(|why| {
        error!(version = %arm.version, why, "could not look at earlier rows");
        Refusal::fault(why)
    })?;
    arm.model.predict(lagged.as_ref().unwrap_or(rows)).map_err(|failure| match failure {
        PredictError::Column(failure) if arm.cleaners.is_empty() => Refusal::bad(failure.to_string()),
        PredictError::Column(failure) => {
            error!(version = %arm.version, error = %failure, "cleaners left rows that the model cannot take");
            Refusal::fault(format!("the cleaners left rows that {} cannot take: {failure}", arm.version))
        }
        failure @ PredictError::Tensor { .. } => {
            error!(version = %arm.version, error = %failure, "could not predict");
            Refusal::fault(format!("{} could not predict: {failure}", arm.version))
        }
    })
}

/// The rows as the last cleaner left them; `None` where there is no cleaner.
fn clean(arm: &Arm, rows: &Batch) -> Result<Option<Batch>, Refusal> {
    let mut cleaned: Option<Batch> = None;
    for cleaner in &arm.cleaners {
        let before = cleaned.as_ref().unwrap_or(rows);
        let after = cleaner.clean(before).map_err(|failure| {
            error!(cleaner = cleaner.name(), version = %arm.version, error = failure, "serving cleaner failed");
            Refusal::fault(format!("cleaner `{}` failed, so nothing was answered: {failure}", cleaner.name()))
        })?;
        if !after.dropped.is_empty() {
            return Err(dropped(cleaner.name(), &after.dropped));
        }
        if after.rows.row_count() != before.row_count() {
            let (found, expected) = (after.rows.row_count(), before.row_count());
            error!(cleaner = cleaner.name(), found, expected, "serving cleaner lost rows without a reason");
            return Err(Refusal::fault(format!("cleaner `{}` returned {found} of {expected} rows and dropped none", cleaner.name())));
        }
        cleaned = Some(after.rows);
    }
    Ok(cleaned)
}

fn dropped(cleaner: &str, dropped: &[(usize, String)]) -> Refusal {
    let named: Vec<String> = dropped.iter().take(ROWS_NAMED_MAX).map(|(row, reason)| format!("row {row} ({reason})")).collect();
    let more = dropped.len().saturating_sub(ROWS_NAMED_MAX);
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Refusal::unprocessable(format!(
        "cleaner `{cleaner}` drops {}{and_more}: the model learned from no such row; leave it out or mend it",
        named.join(", ")
    ))
}
