//! The settings in force, and what of the file is not.

use maud::{Markup, html};

use super::words::{code, instant, sentence, short};
use crate::status::SettingsStatus;

/// Attempts that the page lists.
const RELOADS_MAX: usize = 5;

/// How the settings stand.
pub(super) fn settings(settings: &SettingsStatus) -> Markup {
    html! {
        h2 { "Settings" }
        p { "In force: " code title=(settings.digest) { (short(&settings.digest)) } " of " code { (settings.file) } "." }
        @if let Some(why) = &settings.refused {
            p class="stalled" role="alert" { strong { "The file as it is now is not in force. " } (sentence(why)) }
        }
        @if !settings.waiting.is_empty() {
            p { "Needs a restart:" }
            ul { @for change in &settings.waiting { li { (code(change)) } } }
        }
        @for (age, reload) in settings.reloads.iter().take(RELOADS_MAX).enumerate() {
            div {
                @match &reload.refused {
                    None => { span class="verdict pass" { (reload.result) } " " (instant(reload.at)) },
                    Some(why) => {
                        span class="verdict fail" { (reload.result) } " " (instant(reload.at)) ": " (sentence(why))
                        @if age == 0 && reload.is_held() { " " code { "tidegate reload --accept" } " accepts them." }
                    },
                }
                @for difference in &reload.differences { div class="soft" { (sentence(difference)) } }
            }
        }
    }
}
