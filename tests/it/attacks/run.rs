//! Running the cases. Those that need the same home share a host, one after the other, each as an
//! agent of its own: what one has used up is not the next one's doing.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::case::{Case, Row, rows};
use super::{call, load, report};
use crate::harness::{Bench, PROBE_POLICY, REVEAL, Setup};

/// The agent of a case.
fn name(at: usize) -> String {
    format!("case-{at}")
}

/// What a home is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    setup: Option<String>,
    policy: Option<String>,
    toml: Option<String>,
}

/// Runs every case of a part, and fails with all that is wrong.
pub(super) async fn part(part: char) {
    let rows: Vec<Row> = rows()
        .into_iter()
        .filter(|row| row.part() == part && report::is_wanted(&row.id))
        .collect();
    let mut groups: BTreeMap<Key, Vec<Numbered>> = BTreeMap::new();
    let mut count = 0;
    for row in &rows {
        for (index, case) in row.cases.iter().enumerate() {
            let key = Key {
                setup: case.setup.clone(),
                policy: case.policy.clone(),
                toml: case.toml.clone(),
            };
            let named = format!("{}, case {}", row.id, index + 1);
            groups
                .entry(key)
                .or_default()
                .push((row.id.clone(), named, count, case.clone()));
            count += 1;
        }
    }
    assert!(
        count > 0 || report::is_filtered(),
        "part {part} has no cases"
    );
    for row in rows.iter().filter(|row| !row.cases.is_empty()) {
        report::begins(&row.id);
    }
    let mut wrong = Vec::new();
    let mut of_rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, cases) in groups {
        let bench = setup(&key, &cases).start().await;
        for (row, named, at, case) in cases {
            let of_row = of_rows.entry(row).or_default();
            if let Err(error) = run(&bench, &name(at), &case).await {
                let what = format!("{named} ({}): {error:#}", subject(&case));
                of_row.push(what.clone());
                wrong.push(what);
            }
        }
        bench.verify();
    }
    for row in rows.iter().filter(|row| !row.cases.is_empty()) {
        let of_row = of_rows.remove(&row.id).unwrap_or_default();
        report::ended(&row.id, row.cases.len(), &of_row);
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} cases went wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The row, the case by a name, its number and itself.
type Numbered = (String, String, usize, Case);

fn subject(case: &Case) -> String {
    let what = match (&case.load, &case.arguments) {
        (Some(load), _) => load.clone(),
        (None, Some(Value::Object(members))) if members.contains_key("url") => {
            members["url"].to_string()
        }
        (None, Some(arguments)) => arguments.to_string(),
        (None, None) => case.text.clone().unwrap_or_default(),
    };
    let what: String = what.chars().take(120).collect();
    format!("{} {what}", case.tool)
}

fn setup(key: &Key, cases: &[Numbered]) -> Setup {
    let base = match key.setup.as_deref() {
        Some("fetch") => Setup::empty().shipped("fetch"),
        Some("no-policies") => Setup::empty().component("probe", guests::PROBE),
        // What a plugin may read, and another plugin of the same code.
        Some("secrets") => probe(&format!("{PROBE_POLICY}{REVEAL}")).secret(
            "probe",
            "seen",
            "what-the-probe-may-read",
        ),
        Some("twin") => probe(PROBE_POLICY)
            .component("twin", guests::PROBE)
            .policy("twin", &PROBE_POLICY.replace("\"probe\"", "\"twin\""))
            .toml("[plugin.twin.settings]\norigin = \"https://granted.example\"")
            .secret("twin", "seen", "what-is-the-twins"),
        Some(other) => panic!("no such setup: {other}"),
        None => probe(key.policy.as_deref().unwrap_or(PROBE_POLICY)),
    };
    let toml = load::with_keys(key.toml.as_deref().unwrap_or(crate::harness::PROBE_TOML));
    let base = match load::requires_signatures(&toml) {
        true => base.signature("probe", &load::signature_of_probe()),
        false => base,
    };
    // The probe always needs its origin, or it could not be loaded.
    base.toml(&toml)
        .agents(cases.iter().map(|(_, _, at, _)| name(*at)))
}

fn probe(policy: &str) -> Setup {
    Setup::empty()
        .component("probe", guests::PROBE)
        .policy("probe", policy)
        .secret("probe", "token", "the-value-of-the-token")
}

async fn run(bench: &Bench, agent: &str, case: &Case) -> Result<()> {
    if case.is_of("no-policies") {
        let policies = bench.host.home().policies();
        if policies.is_dir() {
            std::fs::remove_dir_all(policies)?;
            bench.refresh().await;
        }
    }
    match &case.load {
        Some(what) => load::load(bench, agent, what, case).await,
        None => call::call(bench, agent, case).await,
    }
}
