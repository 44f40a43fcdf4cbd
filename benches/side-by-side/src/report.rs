//! Tables on standard output, as Markdown that also reads well on a terminal.
//!
//! Must not know what the figures mean.

use std::fmt;

/// Rows of cells under a header.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: Vec<String>) -> Self {
        Self { rows: vec![header] }
    }

    /// A row has as many cells as the header.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.rows[0].len(), "a row of another width: {cells:?}");
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |at: usize| self.rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                write!(out, "| {cell:width$} ")?;
            }
            writeln!(out, "|")?;
            if number == 0 {
                widths.iter().try_for_each(|width| write!(out, "|{:-<1$}", "", width + 2))?;
                writeln!(out, "|")?;
            }
        }
        Ok(())
    }
}

/// A share as a percentage with one digit, without its sign.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// By how many points a share is above another, and the bar for that; a dash without either of the two.
pub(crate) fn points(share: Option<f64>, other: Option<f64>, bar: f64) -> String {
    let (Some(share), Some(other)) = (share, other) else { return "-".to_owned() };
    let points = 100.0 * (share - other);
    format!("{points:+.2} (bar {bar:+.1}) {}", verdict(points >= bar))
}

/// Whether a bar is reached, in a word that is easy to look for.
pub(crate) fn verdict(is_reached: bool) -> &'static str {
    if is_reached { "ok" } else { "MISSED" }
}

#[cfg(test)]
mod tests {
    use super::{Table, points};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(vec!["a".to_owned(), "size".to_owned()]);
        table.row(vec!["long".to_owned(), "1".to_owned()]);
        assert_eq!(table.to_string(), "| a    | size |\n|------|------|\n| long | 1    |\n");
    }

    #[test]
    fn points_tell_whether_the_bar_is_reached() {
        assert_eq!(points(Some(0.704), Some(0.673), 3.0), "+3.10 (bar +3.0) ok");
        assert_eq!(points(Some(0.69), Some(0.717), -1.5), "-2.70 (bar -1.5) MISSED");
        assert_eq!(points(None, Some(0.7), 3.0), "-");
    }
}
