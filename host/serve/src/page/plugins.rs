//! Every loaded plugin, and the attempts to replace it.

use maud::{Markup, html};
use tidegate_vocab::PluginName;

use super::words::{instant, sentence, short};
use crate::status::{PluginStatus, Reload, StruckStatus};

/// Attempts that the page lists for one plugin.
const RELOADS_MAX: usize = 5;

/// The plugins that `pipeline` uses; all where none is named.
pub(super) fn plugins(plugins: &[PluginStatus], pipeline: Option<&str>) -> Markup {
    let is_used = |plugin: &&PluginStatus| pipeline.is_none_or(|name| plugin.pipelines.iter().any(|user| user.as_str() == name));
    html! {
        h2 { "Plugins" }
        div class="scroll" tabindex="0" role="region" aria-label="Plugins" {
            table class="plugins" {
                thead {
                    tr {
                        th scope="col" { "Name" }
                        th scope="col" { "State" }
                        th scope="col" { "Replaced" }
                        th scope="col" { "Kind" }
                        th scope="col" { "Version" }
                        th scope="col" { "Digest" }
                    }
                }
                tbody { @for plugin in plugins.iter().filter(is_used) { (row(plugin)) } }
            }
        }
    }
}

fn row(plugin: &PluginStatus) -> Markup {
    html! {
        tr {
            th scope="row" { (plugin.name) }
            td class="reloads" {
                @if plugin.struck.is_empty() { span class="soft" { "in use" } }
                @for struck in &plugin.struck { (standing(struck, plugin.pipelines.len() > 1)) }
            }
            td class="reloads" {
                @if plugin.reloads.is_empty() { span class="soft" { "never" } }
                @for (age, reload) in plugin.reloads.iter().take(RELOADS_MAX).enumerate() { (attempt(&plugin.name, reload, age == 0)) }
            }
            td { (plugin.kind) }
            td { (plugin.version) }
            td { code title=(plugin.digest) { (short(&plugin.digest)) } }
        }
    }
}

/// How a plugin stands in one pipeline, which is named where there are several.
fn standing(struck: &StruckStatus, named: bool) -> Markup {
    html! {
        div {
            @match &struck.quarantined {
                Some((since, why)) => { span class="verdict fail" { "quarantined" } " " (instant(*since)) ": " (sentence(why)) },
                None => { (struck.strikes) @if struck.strikes == 1 { " strike" } @else { " strikes" } },
            }
            @if named { span class="soft" { " in " (struck.pipeline) } }
        }
    }
}

/// An attempt; only the newest can still be accepted.
fn attempt(plugin: &PluginName, reload: &Reload, is_newest: bool) -> Markup {
    html! {
        div {
            @match &reload.refused {
                None => { span class="verdict pass" { (reload.result) } " " (instant(reload.at)) },
                Some(why) => {
                    span class="verdict fail" { (reload.result) } " " (instant(reload.at)) ": " (sentence(why)) " The old one serves."
                    @if is_newest && reload.is_held() { " " code { "tidegate plugin reload " (plugin) " --accept" } " accepts it." }
                },
            }
            @for difference in &reload.differences { div class="soft" { (sentence(difference)) } }
        }
    }
}
