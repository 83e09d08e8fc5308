//! What a run with `--once` did, counted.

use crate::output::Format;
use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use tidemill_runner::stats::Totals;

/// What a run did.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// From start to end.
    pub seconds: f64,
    /// By function.
    pub functions: BTreeMap<String, Counts>,
}

/// What a function did.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Records (or schedule events) with a durable outcome.
    pub r#in: u64,
    /// Records produced.
    pub out: u64,
    /// Records left out on purpose: duplicate or filtered.
    pub dropped: u64,
    /// Records that went to the failure destination.
    pub dead_lettered: u64,
}

impl From<Totals> for Counts {
    fn from(totals: Totals) -> Self {
        let Totals { r#in, out, dropped, dead_lettered, .. } = totals;
        Self { r#in, out, dropped, dead_lettered }
    }
}

impl Summary {
    /// The summary of a run.
    #[must_use]
    pub fn new(took: Duration, functions: impl IntoIterator<Item = (String, Totals)>) -> Self {
        let functions = functions.into_iter().map(|(name, totals)| (name, totals.into())).collect();
        Self { seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0, functions }
    }

    /// Writes it to standard output.
    ///
    /// # Errors
    /// When it cannot be put into that form.
    pub fn print(&self, format: Format) -> Result<()> {
        if format != Format::Table {
            return format.print(self);
        }
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["FUNCTION", "IN", "OUT", "DROPPED", "DEAD-LETTERED"]);
        for (name, counts) in &self.functions {
            let numbers =
                [counts.r#in, counts.out, counts.dropped, counts.dead_lettered].map(|number| number.to_string());
            table.add_row(std::iter::once(name.clone()).chain(numbers));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}\n\ndone in {:.1} s", self.seconds);
        Ok(())
    }
}
