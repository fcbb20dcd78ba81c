//! A case's figures as rows of cells, for any kind of page.

use crate::stats::{Spread, as_f64};
use crate::table::{Row, SHORT, Table};

/// The first row is the heading. Columns that are empty for all contenders are left out; times are in
/// milliseconds if all of them are short.
pub(crate) fn grid(table: &Table) -> Vec<Vec<String>> {
    let walls = table.rows.iter().filter_map(Row::wall);
    let (unit, factor) = match Spread::of(walls.map(|wall| wall.median)) {
        Some(Spread { max, .. }) if max < SHORT => ("ms", 1000.0),
        _ => ("s", 1.0),
    };
    let mut columns = vec![
        column(table, "", |row| row.name.clone()),
        column(table, &format!("time, {unit}"), |row| match (row.wall(), &row.why_not) {
            (Some(wall), None) => range(wall.times(factor), 2),
            (_, why_not) => why_not.clone().unwrap_or_default(),
        }),
    ];
    if let Some(bytes) = table.bytes {
        columns.push(column(table, "GB/s", |row| {
            row.wall()
                .map_or_else(String::new, |w| format!("{:.2}", as_f64(bytes) / w.median / 1e9))
        }));
    }
    let first = table.rows.first().map_or("", |row| row.name.as_str());
    columns.push(column(table, &format!("time / {first}'s"), |row| {
        table.to_first(row).map_or_else(String::new, |ratio| range(ratio, 2))
    }));
    columns.push(column(table, &format!("CPU {unit}, client + server"), |row| {
        row.cpu().map_or_else(String::new, |[client, server]| {
            format!("{:.2} + {:.2}", client * factor, server * factor)
        })
    }));
    if table.bytes.is_some() {
        columns.push(column(table, "CPU s/GiB", |row| {
            table.cpu_per_gib(row).map_or_else(String::new, |cpu| format!("{:.2}", cpu.median))
        }));
    }
    columns.push(column(table, "memory MiB, client / server", |row| {
        row.memory().map_or_else(String::new, |[client, server]| {
            format!("{} / {}", client >> 20, server >> 20)
        })
    }));
    if table.bytes.is_none() && table.rows.iter().any(|row| row.sent().is_some()) {
        columns.push(column(table, "MB sent", |row| {
            row.sent().map_or_else(String::new, |sent| format!("{:.1}", sent.median / 1e6))
        }));
    }
    if table.rows.iter().any(|row| row.first().is_some()) {
        columns.push(column(table, "first new byte, s", |row| {
            row.first().map_or_else(String::new, |first| range(first, 3))
        }));
    }
    let height = table.rows.len() + 1;
    (0..height).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

/// The bars as rows of cells, with a heading.
pub(crate) fn bars<'a>(tables: impl IntoIterator<Item = &'a Table>) -> Vec<Vec<String>> {
    let heading = ["bar", "wanted", "measured", ""].map(str::to_owned).to_vec();
    let bars = tables.into_iter().flat_map(|table| &table.bars).map(|bar| bar.cells().to_vec());
    std::iter::once(heading).chain(bars).collect()
}

/// A median and its range.
fn range(Spread { median, min, max }: Spread, digits: usize) -> String {
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
}

fn column(table: &Table, heading: &str, cell: impl Fn(&Row) -> String) -> Vec<String> {
    std::iter::once(heading.to_owned()).chain(table.rows.iter().map(cell)).collect()
}
