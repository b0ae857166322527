//! Columns that stand below each other, readable without colour.

use super::fault::Fault;
use super::printer::Printer;

/// Rows under headings. Cells are escaped by whoever adds them; only their width matters here.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|h| (*h).to_owned()).collect()],
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it.
    pub(crate) fn print(&self, printer: &mut Printer) -> Result<(), Fault> {
        self.lines().iter().try_for_each(|line| printer.line(line))
    }

    /// The lines, without spaces at their ends. A cell of several lines goes on below itself.
    pub(crate) fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                let lines = cells.flat_map(|cell| cell.split('\n'));
                lines
                    .map(|line| line.chars().count())
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let mut out = Vec::new();
        for row in &self.rows {
            let height = row
                .iter()
                .map(|cell| cell.split('\n').count())
                .max()
                .unwrap_or(1);
            for line in 0..height {
                let cells = row.iter().zip(&widths).map(|(cell, width)| {
                    let part = cell.split('\n').nth(line).unwrap_or_default();
                    format!("{part:<width$}")
                });
                let text = cells.collect::<Vec<_>>().join("  ");
                out.push(text.trim_end().to_owned());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&["NAME", "TOOLS", "STATUS"]);
        table.row(["fetch", "1", "serving"].map(str::to_owned));
        table.row(["größer", "12", "refused: not WebAssembly\nbuild it"].map(str::to_owned));
        insta::assert_snapshot!(table.lines().join("\n"), @r"
        NAME    TOOLS  STATUS
        fetch   1      serving
        größer  12     refused: not WebAssembly
                       build it
        ");
    }
}
