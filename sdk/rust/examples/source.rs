//! A source that counts from 1 to a configured number. Its cursor is the last number it returned, as text.
use serde::Deserialize;
use tidegate_plugin::{BatchBuilder, Failure, Issues, NewColumn, Pull, Reader, Source, Values};

#[derive(Deserialize)]
struct Config {
    last: i64,
}

struct Count {
    last: i64,
}

tidegate_plugin::export!(Count, source, "examples/source.toml");

impl Source for Count {
    type Config = Config;
    type Reader = Counting;

    fn configure(config: Config) -> Result<Count, Issues> {
        if config.last < 1 {
            return Err(Issues::at("/last", format!("`last` is {}; expected at least 1", config.last)));
        }
        Ok(Count { last: config.last })
    }

    fn open(&self, cursor: Option<&[u8]>) -> Result<Counting, Failure> {
        let done = match cursor {
            Some(cursor) => std::str::from_utf8(cursor)?.parse()?,
            None => 0,
        };
        Ok(Counting { done, last: self.last })
    }
}

struct Counting {
    done: i64,
    last: i64,
}

impl Reader for Counting {
    fn next(&mut self, rows_max: u32, _bytes_max: u64) -> Result<Pull, Failure> {
        if self.done == self.last {
            return Ok(Pull::Finished);
        }
        let end = self.last.min(self.done + i64::from(rows_max));
        let numbers: Vec<i64> = (self.done + 1..=end).collect();
        let mut rows = BatchBuilder::new([NewColumn::i64("number")]);
        rows.append_i64(0, &Values::from(numbers))?;
        self.done = end;
        Ok(Pull::Rows(rows, end.to_string().into_bytes()))
    }
}
