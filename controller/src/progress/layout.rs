//! Lays out columns in lines that are no wider than the terminal. No I/O.

use std::fmt::Write;

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns between two cells.
const GAP: usize = 2;

/// A name is not shortened to less than this.
const SHORTEST: usize = 4;

/// A piece of text in one style, without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    style: Style,
    align: Align,
    is_listed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Align {
    #[default]
    Left,
    Right,
}

impl Cell {
    pub(super) fn left(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(super) fn right(text: impl Into<String>) -> Self {
        Self { align: Align::Right, ..Self::left(text) }
    }

    pub(super) fn styled(self, style: impl Into<Style>) -> Self {
        Self { style: style.into(), ..self }
    }

    pub(super) fn width(&self) -> usize {
        self.text.width()
    }

    /// Makes it a member of a list: a comma stands between two of them.
    pub(super) fn listed(self) -> Self {
        Self { is_listed: true, ..self }
    }

    /// Cuts it to this width.
    pub(super) fn cut(&mut self, most: usize) {
        let (mut width, mut end) = (0, 0);
        for (at, letter) in self.text.char_indices() {
            width += letter.width().unwrap_or_default();
            if width > most {
                break;
            }
            end = at + letter.len_utf8();
        }
        self.text.truncate(end);
    }
}

/// A line: cells, each with the number of spaces before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row(Vec<(usize, Cell)>);

impl Row {
    fn push(&mut self, gap: usize, cell: Cell) {
        self.0.push((gap, cell));
    }

    /// The columns that it takes.
    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|(gap, cell)| gap + cell.width()).sum()
    }

    /// Cuts it to this width.
    pub(super) fn cut(&self, most: usize) -> Self {
        let (mut cut, mut left) = (self.clone(), most);
        for (gap, cell) in &mut cut.0 {
            *gap = (*gap).min(left);
            cell.cut(left - *gap);
            left -= *gap + cell.width();
        }
        cut
    }

    /// The line, with the escapes of its styles if `colors`.
    pub(crate) fn text(&self, colors: bool) -> String {
        let mut text = String::new();
        for (gap, cell) in &self.0 {
            text.extend(std::iter::repeat_n(' ', *gap));
            let style = cell.style;
            if colors && style != Style::new() {
                // A String takes what is written to it.
                let _ = write!(text, "{style}{}{style:#}", cell.text);
            } else {
                text.push_str(&cell.text);
            }
        }
        text
    }
}

/// A line of cells of which those with the highest rank are left out until the line fits. Empty cells take no
/// room.
pub(super) fn line(width: usize, cells: Vec<(u8, Cell)>) -> Row {
    let mut cells: Vec<_> = cells.into_iter().filter(|(_, cell)| cell.width() > 0).collect();
    loop {
        let mut row = Row::default();
        for (number, (_, cell)) in cells.iter().enumerate() {
            let before = number.checked_sub(1).map(|before| &cells[before].1);
            let gap = match before {
                None => 0,
                Some(before) if before.is_listed && cell.is_listed => {
                    row.push(0, Cell::left(","));
                    1
                }
                Some(_) => GAP,
            };
            row.push(gap, cell.clone());
        }
        if row.width() <= width || cells.len() < 2 {
            return row.cut(width);
        }
        let ranks = cells.iter().enumerate().map(|(number, (rank, _))| (*rank, number));
        let last = ranks.max().map_or(0, |(_, number)| number);
        cells.remove(last);
    }
}

/// A row of a table.
pub(super) enum TableRow {
    /// A name, which is never left out, and a cell for each column.
    Cells(Cell, Vec<Cell>),
    /// A text across all columns.
    Text(Cell),
}

/// Aligned rows. Of the columns after the name, those with the highest of `ranks` are left out until the rows
/// fit; so are columns that are empty in all rows. At last the names are shortened.
pub(super) fn table(width: usize, rows: Vec<TableRow>, ranks: &[u8]) -> Vec<Row> {
    let mut name = 0;
    let mut widths = vec![0; ranks.len()];
    for row in &rows {
        let TableRow::Cells(of_row, cells) = row else { continue };
        name = name.max(of_row.width());
        widths.iter_mut().zip(cells).for_each(|(width, cell)| *width = cell.width().max(*width));
    }
    let mut kept: Vec<usize> = (0..ranks.len()).filter(|&column| widths[column] > 0).collect();
    let needed = |kept: &[usize]| kept.iter().map(|&column| GAP + widths[column]).sum::<usize>();
    while name + needed(&kept) > width {
        let Some(&last) = kept.iter().max_by_key(|&&column| ranks[column]) else { break };
        // A long name gives way before a column does.
        let room = width.saturating_sub(needed(&kept));
        if room >= SHORTEST.max(width / 4) {
            name = room;
            break;
        }
        kept.retain(|&column| column != last);
    }
    name = name.min(width);
    let row = |row: TableRow| {
        let mut line = Row::default();
        let (mut of_row, mut cells) = match row {
            TableRow::Cells(of_row, cells) => (of_row, cells),
            TableRow::Text(text) => {
                line.push(0, text);
                return line.cut(width);
            }
        };
        of_row.cut(name);
        let mut blank = name - of_row.width();
        line.push(0, of_row);
        for &column in &kept {
            let cell = cells.get_mut(column).map(std::mem::take).unwrap_or_default();
            let more = widths[column] - cell.width();
            if cell.width() == 0 {
                blank += GAP + more;
                continue;
            }
            let (before, after) = match cell.align {
                Align::Left => (0, more),
                Align::Right => (more, 0),
            };
            line.push(blank + GAP + before, cell);
            blank = after;
        }
        line.cut(width)
    };
    rows.into_iter().map(row).collect()
}

/// A bar of this many columns.
pub(super) fn bar(percent: Option<u8>, columns: usize) -> Cell {
    let Some(percent) = percent else { return Cell::default() };
    let full = (usize::from(percent) * columns / 100).min(columns);
    Cell::left("█".repeat(full) + &"░".repeat(columns - full))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(name: &str, cells: &[&str]) -> TableRow {
        TableRow::Cells(Cell::left(name), cells.iter().map(|text| Cell::right(*text)).collect())
    }

    fn text(rows: &[Row]) -> String {
        rows.iter().map(|row| row.text(false).trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn columns_are_aligned_and_left_out_by_rank() {
        let rows = || {
            vec![
                row("web1", &["█░", "41%", "4.1 GiB"]),
                row("web10", &["██", "100%", "10.0 GiB"]),
                TableRow::Text(Cell::left("db: connection lost, reconnecting (4 s of 30 s)")),
                row("a-very-long-name", &["", "7%", ""]),
            ]
        };
        let at = |width| text(&table(width, rows(), &[2, 0, 1]));
        insta::assert_snapshot!(at(60), @"
        web1              █░   41%   4.1 GiB
        web10             ██  100%  10.0 GiB
        db: connection lost, reconnecting (4 s of 30 s)
        a-very-long-name        7%
        ");
        insta::assert_snapshot!(at(34), @"
        web1            █░   41%   4.1 GiB
        web10           ██  100%  10.0 GiB
        db: connection lost, reconnecting
        a-very-long-na        7%
        ");
        insta::assert_snapshot!(at(12), @"
        web1     41%
        web10   100%
        db: connecti
        a-very    7%
        ");
    }

    #[test]
    fn a_line_leaves_out_what_matters_least() {
        let cells = || [(0, "41%"), (2, "312 MiB/s"), (1, "ETA 19s"), (0, "1 failed")];
        let at = |width| line(width, cells().map(|(r, t)| (r, Cell::left(t))).into()).text(false);
        assert_eq!(at(80), "41%  312 MiB/s  ETA 19s  1 failed");
        assert_eq!(at(30), "41%  ETA 19s  1 failed");
        assert_eq!(at(13), "41%  1 failed");
        assert_eq!(at(12), "41%");
        assert_eq!(at(2), "41");
        let list = ["a", "b", "", "c"].map(|text| (0, Cell::left(text).listed()));
        assert_eq!(line(9, list.clone().into()).text(false), "a, b, c");
        assert_eq!(line(6, list.into()).text(false), "a, b");
    }

    #[test]
    fn escapes_take_no_room() {
        let red = anstyle::AnsiColor::Red.on_default();
        let row = line(9, vec![(0, Cell::left("ok")), (0, Cell::left("failed").styled(red))]);
        assert_eq!((row.width(), row.text(false).as_str()), (2, "ok"));
        let row = line(10, vec![(0, Cell::left("ok")), (0, Cell::left("failed").styled(red))]);
        assert_eq!(row.text(true), "ok  \x1b[31mfailed\x1b[0m");
    }

    proptest! {
        #[test]
        fn no_row_is_wider_than_the_terminal(
            width in 0_usize..120,
            rows in proptest::collection::vec(
                ("[a-z0-9äöü漢字]{0,30}", proptest::collection::vec("[0-9a-z%/ ░漢]{0,20}", 0..5), any::<bool>()),
                0..9,
            ),
            ranks in proptest::collection::vec(0_u8..9, 5),
        ) {
            let cells: Vec<(u8, Cell)> = rows.iter().zip(&ranks).map(|((name, ..), rank)| {
                (*rank, Cell::left(name))
            }).collect();
            prop_assert!(line(width, cells).width() <= width);
            let rows = rows.into_iter().map(|(name, cells, is_text)| {
                if is_text {
                    return TableRow::Text(Cell::left(cells.concat()));
                }
                TableRow::Cells(Cell::left(&name), cells.into_iter().map(Cell::right).collect())
            });
            for row in table(width, rows.collect(), &ranks) {
                let text = row.text(false);
                prop_assert!(row.width() <= width && text.width() <= width, "{:?}", text);
            }
        }
    }
}
