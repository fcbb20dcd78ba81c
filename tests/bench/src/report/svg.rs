//! The plot: a panel for each case, a horizontal bar for each contender, as long as its median time, with a
//! line from its fastest to its slowest.
//!
//! The text's grey is readable on white and on black, and adapts where the viewer tells which of them it is;
//! the background is transparent.

use std::fmt::Write;

use crate::stats::Spread;
use crate::table::{Row, Table};

const WIDTH: f64 = 860.0;
/// Where bars begin, and the length of the longest.
const LEFT: f64 = 300.0;
const LONGEST: f64 = 420.0;
/// Heights of a panel's title, of a row and of its bar.
const TITLE: f64 = 34.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#6e7781}\
.t{font-weight:600}.us{fill:#c2571a}.them{fill:#8c959f}.range{stroke:#57606a;stroke-width:1.5}\
@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.us{fill:#f0883e}.them{fill:#6e7681}\
.range{stroke:#c9d1d9}}";

/// The whole picture.
pub(crate) fn plot(tables: &[Table]) -> String {
    let mut body = String::new();
    let mut y = 0.0;
    for table in tables {
        let rows: Vec<(&Row, Spread)> =
            table.rows.iter().filter_map(|row| Some((row, row.wall()?))).collect();
        let Some(Spread { max: longest, .. }) = Spread::of(rows.iter().map(|(_, wall)| wall.max))
        else {
            continue;
        };
        let title = format!("{} (shorter is better)", table.title);
        text(&mut body, "t", 8.0, y + 23.0, "start", &title);
        y += TITLE;
        for (row, wall) in rows {
            bar(&mut body, y, row, wall, LONGEST / longest);
            y += ROW;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\">\n<style>{STYLE}</style>\n{body}</svg>\n",
        height = y + 8.0,
    )
}

fn bar(body: &mut String, y: f64, row: &Row, wall: Spread, scale: f64) {
    let class = if row.name.starts_with("lariat") { "us" } else { "them" };
    let middle = y + ROW / 2.0;
    text(body, "n", LEFT - 8.0, middle + 4.5, "end", &row.name);
    // Writing to a String can't fail.
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>",
        middle - BAR / 2.0,
        wall.median * scale,
    );
    let _ = writeln!(
        body,
        "<line class=\"range\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>",
        LEFT + wall.min * scale,
        LEFT + wall.max * scale,
    );
    let label = if wall.median < 0.5 {
        format!("{:.1} ms", wall.median * 1000.0)
    } else {
        format!("{:.2} s", wall.median)
    };
    text(body, "v", LEFT + wall.max * scale + 8.0, middle + 4.5, "start", &label);
}

fn text(body: &mut String, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        body,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}
