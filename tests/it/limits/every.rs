//! Every limit of `tollgate.toml`, one row each: its outcome says which it is and how much was used.

use serde_json::{Value, json};
use tollgate::reason::Reason;

use crate::harness::{Look as _, Setup, reason_of};

/// A limit, what runs into it, and what is said then.
struct Row {
    /// As `reached` names it: its key below `[limits]`.
    limit: &'static str,
    /// The value that it is set to, and what else must be set.
    toml: &'static str,
    tool: &'static str,
    arguments: Value,
    reason: Reason,
    /// `used of allowed`; without what was used, where that is not the same each time.
    says: &'static str,
}

fn send(method: &str, path: &str, body: Option<&str>) -> Value {
    let url = format!("https://granted.example{path}");
    let mut arguments = json!({"requirement": "api", "method": method, "url": url});
    if let Some(body) = body {
        arguments["body"] = body.into();
    }
    arguments
}

fn headers(n: u32) -> Value {
    json!({"url": "https://granted.example/hello", "n": n})
}

/// Keys that end no call and no host call.
const WITHOUT_OUTCOME: &[&str] = &[
    // Lines beyond it are dropped and counted in the log.
    "log_bytes",
    // Of calls that run as jobs: `jobs::a_job_has_a_time_of_its_own`.
    "job_time",
    // How long `failures` lasts; its message says it.
    "pause",
];

fn rows() -> Vec<Row> {
    let row = |limit, toml, tool, arguments, reason, says| Row {
        limit,
        toml,
        tool,
        arguments,
        reason,
        says,
    };
    let deep = (0..20).fold(json!(1), |inner, _| json!([inner]));
    vec![
        row(
            "fuel",
            "fuel = 30_000_000",
            "loop",
            json!({}),
            Reason::TrapFuel,
            "30000000 of 30000000",
        ),
        row(
            "time",
            "time = \"300ms\"",
            "sleep",
            json!({"ms": 3_600_000}),
            Reason::TrapDeadline,
            " of 300 ms",
        ),
        row(
            "memory",
            "memory = \"16MiB\"",
            "big_output",
            json!({"bytes": 30_000_000, "shape": "text"}),
            Reason::TrapMemory,
            " of 16777216 bytes",
        ),
        row(
            "table_entries",
            "table_entries = 100",
            "echo",
            json!({"text": "x"}),
            Reason::TrapTable,
            " of 100",
        ),
        row(
            "handles",
            "handles = 64",
            "handles",
            json!({"n": 100}),
            Reason::BudgetHandles,
            "65 of 64",
        ),
        row(
            "host_calls",
            "host_calls = 3_000",
            "storm",
            json!({"capability": "clock", "n": 10_000}),
            Reason::BudgetHostCalls,
            "3001 of 3000",
        ),
        row(
            "host_bytes",
            "host_bytes = \"1KiB\"",
            "storm",
            json!({"capability": "log", "n": 1_000}),
            Reason::BudgetHostBytes,
            " of 1024 bytes",
        ),
        row(
            "host_call_bytes",
            "host_call_bytes = \"256KiB\"",
            "big_argument",
            json!({"bytes": 300_000}),
            Reason::TrapHostCallBytes,
            "more than 262144 of 262144 bytes",
        ),
        row(
            "refusals",
            "refusals = 5",
            "refused_storm",
            json!({"n": 100}),
            Reason::BudgetRefusals,
            "6 of 5",
        ),
        row(
            "output",
            "output = \"1KiB\"",
            "big_output",
            json!({"bytes": 2_000, "shape": "text"}),
            Reason::ResultTooLarge,
            "2000 of 1024 bytes",
        ),
        row(
            "failures",
            "failures = 2\npause = \"1h\"",
            "panic",
            json!({"message": "x"}),
            Reason::LimitBreaker,
            "2 of 2",
        ),
        row(
            "arguments.bytes",
            "arguments.bytes = \"1KiB\"",
            "echo",
            json!({"text": "a".repeat(1_025)}),
            Reason::ArgsTooLarge,
            "1036 of 1024",
        ),
        row(
            "arguments.depth",
            "arguments.depth = 16",
            "echo",
            json!({"value": deep}),
            Reason::ArgsTooDeep,
            "17 of 16",
        ),
        row(
            "arguments.nodes",
            "arguments.nodes = 200",
            "echo",
            json!({"value": (0..300).collect::<Vec<_>>()}),
            Reason::ArgsTooLarge,
            "201 of 200",
        ),
        row(
            "http.request_body",
            "http.request_body = \"10B\"",
            "send",
            send("POST", "/echo", Some("12345678901")),
            Reason::LimitRequestBytes,
            "11 of 10 bytes",
        ),
        row(
            "http.response_body",
            "http.response_body = \"1000B\"",
            "send",
            send("GET", "/big/200000", None),
            Reason::LimitResponseBytes,
            "200000 of 1000 bytes",
        ),
        row(
            "http.header_fields",
            "http.header_fields = 5",
            "many_headers",
            headers(10),
            Reason::LimitRequestBytes,
            "10 of 5",
        ),
        row(
            "http.header_bytes",
            "http.header_bytes = \"1KiB\"",
            "many_headers",
            headers(90),
            Reason::LimitRequestBytes,
            " of 1024 bytes",
        ),
        row(
            "http.connect",
            "http.connect = \"100ms\"",
            "send",
            send("GET", "/hello", None),
            Reason::LimitHttpTime,
            " ms",
        ),
        row(
            "http.first_byte",
            "http.first_byte = \"100ms\"",
            "send",
            send("GET", "/silent", None),
            Reason::LimitHttpTime,
            "100 of 100 ms",
        ),
        row(
            "http.idle",
            "http.idle = \"100ms\"",
            "send",
            send("GET", "/stall", None),
            Reason::LimitHttpTime,
            "100 of 100 ms",
        ),
        row(
            "http.total",
            "http.total = \"100ms\"",
            "send",
            send("GET", "/silent", None),
            Reason::LimitHttpTime,
            "100 of 100 ms",
        ),
    ]
}

/// The keys of `[limits]` and of the tables below it, as the commented defaults list them.
fn keys() -> Vec<String> {
    let mut table = None;
    let mut keys = Vec::new();
    for line in tollgate::config::TEMPLATE.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            table = match name.strip_prefix("limits") {
                Some("") => Some(String::new()),
                Some(rest) => rest.strip_prefix('.').map(|rest| format!("{rest}.")),
                None => None,
            };
            continue;
        }
        let key = line
            .strip_prefix("# ")
            .and_then(|rest| rest.split_once(" = "));
        if let (Some(table), Some((key, _))) = (&table, key)
            && !key.contains(' ')
        {
            keys.push(format!("{table}{key}"));
        }
    }
    keys
}

#[test]
fn each_limit_has_a_row() {
    let rows = rows();
    let keys = keys();
    assert!(keys.len() > 20, "{keys:?}");
    for key in &keys {
        let has_row = rows.iter().any(|row| row.limit == key);
        assert!(
            has_row != WITHOUT_OUTCOME.contains(&key.as_str()),
            "`{key}` needs a row, or must be said to end nothing"
        );
    }
    for row in &rows {
        assert!(keys.iter().any(|key| key == row.limit), "{}", row.limit);
    }
}

#[tokio::test]
async fn each_limit_says_which_it_is_and_how_much_was_used() {
    for row in rows() {
        let Row {
            limit, tool, says, ..
        } = row;
        // For this tool alone: a plugin describes itself under the limits of its own.
        let toml = format!("[plugin.probe.tool.{tool}.limits]\n{}", row.toml);
        let bench = Setup::probe().toml(&toml).start().await;
        bench.connector.hangs(limit == "http.connect");
        let tool = format!("probe_{tool}");
        if limit == "failures" {
            for _ in 0..2 {
                bench.call(&tool, row.arguments.clone()).await;
            }
        }
        let reply = bench.call(&tool, row.arguments).await;
        // A call ends with its reason; the plugin hears of a host call's, and tells.
        let (reason, said) = match reply.reason() {
            Some(reason) => (reason.code().to_owned(), reply.text()),
            None => {
                let word = |at| reply.at(at).as_str().unwrap_or_default().to_owned();
                (word("/reason"), word("/message"))
            }
        };
        assert_eq!(reason, row.reason.code(), "{limit}: {}", reply.everything());
        let named = format!("limit `{limit}` reached: ");
        assert!(said.contains(&named), "{limit}: {said}");
        assert!(said.contains(says), "{limit}: {said}");
        let recorded = bench
            .records_of(reply.call)
            .iter()
            .filter_map(reason_of)
            .filter(|found| *found == row.reason)
            .count();
        assert_eq!(recorded, 1, "{limit}");
        bench.connector.hangs(false);
        assert_eq!(bench.call("probe_now", json!({})).await.reason(), None);
        bench.verify();
    }
}
