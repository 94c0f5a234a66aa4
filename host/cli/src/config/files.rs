//! Checks what the file refers to outside itself: plugin files and inputs.

use std::path::{Path, PathBuf};

use tidegate_vocab::PluginName;

use super::section::{self, Problem};
use super::{Config, ConfigError};

impl Config {
    /// The file of a plugin.
    pub fn plugin_file(&self, plugin: &PluginName) -> PathBuf {
        self.plugins.folder.join(format!("{plugin}.wasm"))
    }

    /// Names of the plugins in the plugin folder, sorted.
    pub fn plugins_found(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.plugins.folder) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".wasm").map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    /// Checks that every plugin a pipeline uses and every input a plugin was lent is there.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is missing, at the place that names it.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let found = self.plugins_found();
        let uses = self.pipelines.iter().flat_map(|pipeline| pipeline.plugins());
        for (kind, plugin) in uses.filter(|(_, plugin)| !found.iter().any(|name| name == plugin.plugin.as_str())) {
            problems.push(self.missing_plugin(kind, plugin, &found));
        }
        let lent = |name: &String| self.plugin.values().any(|plugin| plugin.grants.inputs.contains(name));
        for (name, input) in self.inputs.iter().filter(|(name, input)| lent(name) && !input.path.exists()) {
            problems.push(Problem {
                message: format!("there is no file or folder `{}` for the input `{name}`", input.path.display()),
                label: "not found".to_owned(),
                span: input.span.clone(),
                hint: Some(format!("a path is relative to the folder of `{}`", self.file.path.display())),
            });
        }
        problems.sort_by_key(|problem| problem.span.start);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { file: self.file.clone(), problems }) }
    }

    fn missing_plugin(&self, kind: &str, plugin: &super::PluginUse, found: &[String]) -> Problem {
        if let Some(from) = self.plugin(&plugin.plugin).from {
            return Problem {
                message: format!("the {kind} plugin `{}` was not pulled yet from `{from}`", plugin.plugin),
                label: format!("no file `{}.wasm`", plugin.plugin),
                span: plugin.span.clone(),
                hint: Some(format!("`tidegate plugin pull {}`", plugin.plugin)),
            };
        }
        let words: Vec<&str> = found.iter().map(String::as_str).collect();
        let folder = shown_folder(&self.plugins.folder);
        let hint = match section::nearest_hint(plugin.plugin.as_str(), &words) {
            Some(hint) => format!("{hint} found there: {}", section::list(&words)),
            None if words.is_empty() => {
                format!("there are no plugins in `{folder}`; put `{}.wasm` there, or set `[plugins] folder`", plugin.plugin)
            }
            None => format!("found there: {}", section::list(&words)),
        };
        Problem {
            message: format!("there is no {kind} plugin `{}` in `{folder}`", plugin.plugin),
            label: format!("no file `{}.wasm`", plugin.plugin),
            span: plugin.span.clone(),
            hint: Some(hint),
        }
    }
}

fn shown_folder(folder: &Path) -> String {
    section::shown(&folder.display().to_string())
}
