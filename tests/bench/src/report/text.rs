//! A case's report for the terminal.

use std::fmt::Write;

use super::grid::{bars, grid};
use crate::table::Table;

/// The case's figures and bars.
pub(crate) fn text(table: &Table) -> String {
    let mut text = format!("{}: {}\n\n{}\n", table.case, table.title, aligned(&grid(table)));
    if !table.bars.is_empty() {
        text += &aligned(&bars([table]));
    }
    text
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String can't fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
