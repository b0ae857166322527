//! What became of each row, on disk: for `cargo threats`, which prints it, and `cargo mutate`, which wants it to be red.
//!
//! Each row has a file, `target/tmp/attacks/<row>.json`. `TOLLGATE_ATTACKS` names the rows that are to run, separated by
//! commas; `TOLLGATE_ATTACKS_RESULTS` another folder.

use std::path::{Path, PathBuf};

/// Whether only some rows are to run.
pub(super) fn is_filtered() -> bool {
    std::env::var_os("TOLLGATE_ATTACKS").is_some()
}

/// Whether this row is to run.
pub(super) fn is_wanted(row: &str) -> bool {
    std::env::var("TOLLGATE_ATTACKS")
        .map_or(true, |wanted| wanted.split(',').any(|wanted| wanted == row))
}

fn file(row: &str) -> PathBuf {
    std::env::var_os("TOLLGATE_ATTACKS_RESULTS")
        .map_or_else(
            || Path::new(env!("CARGO_TARGET_TMPDIR")).join("attacks"),
            PathBuf::from,
        )
        .join(format!("{row}.json"))
}

/// A row is about to run: nothing is known of it until it ends.
pub(super) fn begins(row: &str) {
    let _ = std::fs::remove_file(file(row));
}

/// A row ended, with what was wrong with its cases.
pub(super) fn ended(row: &str, cases: usize, wrong: &[String]) {
    let path = file(row);
    let line = serde_json::json!({"row": row, "cases": cases, "wrong": wrong});
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("{line}\n")).unwrap();
}

/// A test that stands for a row: its result is the row's.
#[derive(Debug)]
pub(crate) struct StandsFor(&'static str);

/// For the first line of a test that stands for `row`.
pub(crate) fn stands_for(row: &'static str) -> StandsFor {
    begins(row);
    StandsFor(row)
}

impl Drop for StandsFor {
    fn drop(&mut self) {
        let wrong = match std::thread::panicking() {
            true => vec![String::from("its test failed")],
            false => Vec::new(),
        };
        ended(self.0, 1, &wrong);
    }
}
