//! The live table of functions, redrawn in place on a terminal.

use super::function::Function;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets::NOTHING};
use console::Term;
use std::io::Write;

/// The table on the terminal.
#[derive(Debug)]
pub struct Board {
    term: Term,
    lines: usize,
    last: String,
}

impl Default for Board {
    fn default() -> Self {
        Self { term: Term::stdout(), lines: 0, last: String::new() }
    }
}

impl Board {
    /// Whether it is drawn: else it is told in lines.
    pub fn is_drawn(&self) -> bool {
        self.term.is_term()
    }

    /// Draws the functions; without a terminal, only what has changed in replicas.
    pub fn draw(&mut self, functions: &[Function]) {
        if !self.is_drawn() {
            self.tell(functions);
            return;
        }
        let width = self.term.size().1;
        let text = table(functions, width).to_string();
        if text == self.last {
            return;
        }
        // A terminal that has gone takes no output; the signal that says so ends the run.
        drop(self.term.clear_last_lines(self.lines));
        drop(self.term.write_line(&text));
        self.lines = text.lines().count();
        self.last = text;
    }

    /// Says something above the table.
    pub fn say(&mut self, line: &str) {
        if self.is_drawn() {
            drop(self.term.clear_last_lines(self.lines));
            self.lines = 0;
            self.last.clear();
        }
        drop(writeln!(std::io::stdout(), "{line}"));
    }

    fn tell(&mut self, functions: &[Function]) {
        let line: Vec<_> =
            functions.iter().map(|function| format!("{}={}", function.plan.name, function.replicas())).collect();
        let line = line.join(" ");
        if line != self.last {
            drop(writeln!(std::io::stdout(), "replicas: {line}"));
            self.last = line;
        }
    }
}

fn table(functions: &[Function], width: u16) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(["FUNCTION", "REPLICAS", "LAG", "RATE/s", "IN", "OUT", "DROPPED", "DLQ", "REASON"]);
    for function in functions {
        let totals = function.totals();
        let lag = function.lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string());
        let reason = function.failing().unwrap_or_else(|| function.reason.clone());
        table.add_row([
            function.plan.name.clone(),
            format!("{}/{}", function.replicas(), function.plan.scaling.max),
            lag,
            format!("{:.1}", function.rate()),
            totals.r#in.to_string(),
            totals.out.to_string(),
            totals.dropped.to_string(),
            totals.dead_lettered.to_string(),
            reason,
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(7) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
