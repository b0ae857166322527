//! One control off after the other, and the rows that must see it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::rows::{Row, lines, outcomes, rows};
use crate::tree::{self, Mutation, VARIABLE};

/// A run that takes longer is ended. That is no verdict: a loop must be bounded by the host itself.
const LONGEST: Duration = Duration::from_secs(240);

/// How a row ended under a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Green,
    Red(String),
}

fn mutations() -> Result<Vec<Mutation>> {
    let all: Vec<Mutation> = lines(&crate::root().join("tests/mutations.jsonl"))?;
    let names: BTreeSet<&str> = all.iter().map(|m| m.control.as_str()).collect();
    ensure!(names.len() == all.len(), "a control is there twice");
    Ok(all)
}

/// Switches off each control (of those named, where some are) and says whether all of its rows see it.
pub(crate) fn gate(named: &[String]) -> Result<bool> {
    let mutations = mutations()?;
    for name in named {
        ensure!(
            mutations.iter().any(|m| m.control == *name),
            "there is no control `{name}` in `tests/mutations.jsonl`"
        );
    }
    let rows = rows()?;
    for mutation in &mutations {
        ensure!(
            !mutation.rows.is_empty(),
            "`{}` has no rows",
            mutation.control
        );
        for id in &mutation.rows {
            ensure!(
                rows.iter().any(|row| row.id == *id && row.runs()),
                "`{}` names the row {id}, which does not run",
                mutation.control
            );
        }
    }
    let began = Instant::now();
    let program = tree::build(&mutations)?;
    println!("built in {} s", began.elapsed().as_secs());
    let chosen: Vec<&Mutation> = mutations
        .iter()
        .filter(|m| named.is_empty() || named.contains(&m.control))
        .collect();
    let wanted: BTreeSet<&str> = chosen
        .iter()
        .flat_map(|m| m.rows.iter().map(String::as_str))
        .collect();
    let mut good = true;
    for (row, end) in run(&program, None, &wanted, &rows)? {
        if let End::Red(why) = end {
            println!("  {row} is red with every control on: {why}");
            good = false;
        }
    }
    ensure!(good, "mend the rows first");
    println!("all controls on: {} rows are green", wanted.len());
    for mutation in &chosen {
        let wanted = mutation.rows.iter().map(String::as_str).collect();
        let began = Instant::now();
        let ends = run(&program, Some(&off(mutation)), &wanted, &rows)?;
        let blind: Vec<&str> = ends
            .iter()
            .filter(|(_, end)| **end == End::Green)
            .map(|(row, _)| row.as_str())
            .collect();
        let verdict = if blind.is_empty() { "red" } else { "MISSED" };
        println!(
            "{verdict:6} without {} ({}): {} in {} s",
            mutation.control,
            mutation.what,
            mutation.rows.join(" "),
            began.elapsed().as_secs()
        );
        if !blind.is_empty() {
            println!("       these rows do not see it: {}", blind.join(" "));
            good = false;
        }
    }
    if named.is_empty() {
        uncovered(&mutations, &rows);
    }
    Ok(good)
}

/// All that goes off with a control.
fn off(mutation: &Mutation) -> String {
    let all = std::iter::once(&mutation.control).chain(&mutation.with);
    all.map(String::as_str).collect::<Vec<_>>().join(",")
}

/// Rows that run and that no control of the list turns red.
fn uncovered(mutations: &[Mutation], rows: &[Row]) {
    let covered: BTreeSet<&String> = mutations.iter().flat_map(|m| &m.rows).collect();
    let open: Vec<&str> = rows
        .iter()
        .filter(|row| row.runs() && !covered.contains(&row.id))
        .map(|row| row.id.as_str())
        .collect();
    println!(
        "{} controls; {} rows see one of them; no control of the list stands for: {}",
        mutations.len(),
        covered.len(),
        open.join(" ")
    );
}

/// Every row under every mutant: what to write into `tests/mutations.jsonl`.
pub(crate) fn survey() -> Result<bool> {
    let mutations = mutations()?;
    let rows = rows()?;
    let program = tree::build(&mutations)?;
    let all: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row.runs())
        .map(|row| row.id.as_str())
        .collect();
    for mutation in std::iter::once(None).chain(mutations.iter().map(Some)) {
        let off = mutation.map(off);
        let control = mutation.map(|m| m.control.as_str());
        let red: Vec<String> = run(&program, off.as_deref(), &all, &rows)?
            .into_iter()
            .filter(|(_, end)| *end != End::Green)
            .map(|(row, _)| row)
            .collect();
        println!("{}: {}", control.unwrap_or("(none)"), red.join(" "));
    }
    Ok(true)
}

/// Runs these rows, with one control off.
fn run(
    program: &Path,
    off: Option<&str>,
    wanted: &BTreeSet<&str>,
    rows: &[Row],
) -> Result<BTreeMap<String, End>> {
    let results = crate::target().join("mutate/results");
    if results.exists() {
        std::fs::remove_dir_all(&results)?;
    }
    std::fs::create_dir_all(&results)?;
    let list: Vec<&str> = wanted.iter().copied().collect();
    let claimed: BTreeSet<&str> = rows
        .iter()
        .filter(|row| wanted.contains(row.id.as_str()))
        .filter_map(|row| row.claimed_by.as_deref())
        .collect();
    let mut command = Command::new(program);
    command
        .current_dir(crate::target().join("mutate/tree"))
        .env("TOLLGATE_ATTACKS", list.join(","))
        .env("TOLLGATE_ATTACKS_RESULTS", &results)
        // A panic of a test is its result, and no news here.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .args(["attacks::", "--test-threads", "4"])
        .args(claimed);
    match off {
        Some(control) => command.env(VARIABLE, control),
        None => command.env_remove(VARIABLE),
    };
    let mut child = command
        .process_group(0)
        .spawn()
        .with_context(|| format!("start `{}`", program.display()))?;
    let began = Instant::now();
    let ended = loop {
        if child.try_wait()?.is_some() {
            break true;
        }
        if began.elapsed() > LONGEST {
            // With its whole group: tests start daemons and servers.
            Command::new("kill")
                .args(["-KILL", "--", &format!("-{}", child.id())])
                .status()
                .context("start `kill`")?;
            child.wait()?;
            break false;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let found = outcomes(&results)?;
    Ok(wanted
        .iter()
        .map(|row| {
            let end = match found.get(*row) {
                Some(outcome) => match outcome.wrong.first() {
                    None => End::Green,
                    Some(why) => End::Red(why.clone()),
                },
                None if ended => End::Red(String::from("its test ended without a result")),
                None => End::Red(String::from("its test did not end in time")),
            };
            ((*row).to_owned(), end)
        })
        .collect())
}
