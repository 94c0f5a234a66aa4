//! A cleaner that quarantines rows in which one column is not a whole number.
use serde::Deserialize;
use tidegate_plugin::{Batch, Cleaner, Edit, Failure, Issues};

#[derive(Deserialize)]
struct Config {
    column: String,
}

struct Whole {
    column: String,
}

tidegate_plugin::export!(Whole, cleaner, "examples/cleaner.toml");

impl Cleaner for Whole {
    type Config = Config;

    fn configure(config: Config) -> Result<Whole, Issues> {
        Ok(Whole { column: config.column })
    }

    fn clean(&self, rows: &Batch, edit: &Edit) -> Result<(), Failure> {
        for window in rows.windows() {
            let values = window.column(&self.column)?.f64()?;
            let whole: Vec<bool> = values.iter().map(|value| value.is_none_or(|value| value.fract() == 0.0)).collect();
            edit.keep(&window, &whole, "not-whole")?;
        }
        Ok(())
    }
}
