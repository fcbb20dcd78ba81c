//! Columns for people: each as wide as what is in it, the last one as it comes.

use std::fmt::Write;

/// A table with these headings; every row has a cell for each of them.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let headings = headings.iter().map(|&heading| heading.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(headings).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let columns = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}  "));
        writeln!(text, "{}", columns.collect::<String>().trim_end())
            .expect("a String takes what is written to it");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let row = |cells: [&str; 3]| cells.map(ToOwned::to_owned).to_vec();
        let rows = [row(["a", "long one", "x"]), row(["long two", "", ""])];
        assert_eq!(
            table(&["A", "B", "REST"], rows),
            "A         B         REST\na         long one  x\nlong two\n"
        );
    }
}
