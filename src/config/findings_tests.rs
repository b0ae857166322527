//! What needs a restart is said, of every key.

use std::path::Path;

use crate::config::{Admin, Config, Egress, Journal, Log, Server, Telemetry};
use crate::limits::Concurrency;

fn parse(text: &str) -> Config {
    Config::parse(Path::new("/home/tollgate.toml"), text).unwrap()
}

#[test]
fn what_needs_a_restart_is_named_with_its_line() {
    let started = parse("[log]\nlevel = \"warn\"");
    assert_eq!(started.waiting(&started), []);
    let now = r#"
[server]
allowed_hosts = ["tools.example"]
[concurrency]
plugin = 3
host = 8
[limits]
fuel = 20_000
"#;
    let found: Vec<_> = parse(now)
        .waiting(&started)
        .into_iter()
        .map(|f| format!("{}: {}", f.line, f.message))
        .collect();
    insta::assert_snapshot!(found.join("\n"), @r"
    3: `server.allowed_hosts` changed, and needs a restart to be in force
    1: `log.level` changed, and needs a restart to be in force
    6: `concurrency.host` changed, and needs a restart to be in force
    ");
}

/// Each key with something else than its default, and what is said of that; nothing where it is taken in at once.
const KEYS: &[(&str, &str)] = &[
    ("server.listen", "[server]\nlisten = \"127.0.0.1:1\""),
    (
        "server.tls",
        "[server]\ntls = { certificate = \"c\", key = \"k\" }",
    ),
    ("server.socket_mode", "[server]\nsocket_mode = \"660\""),
    ("server.connections", "[server]\nconnections = 3"),
    ("server.sessions", "[server]\nsessions = 3"),
    (
        "server.sessions_per_agent",
        "[server]\nsessions_per_agent = 3",
    ),
    (
        "server.streams_per_agent",
        "[server]\nstreams_per_agent = 3",
    ),
    ("server.allowed_hosts", "[server]\nallowed_hosts = [\"a\"]"),
    (
        "server.allowed_origins",
        "[server]\nallowed_origins = [\"http://a\"]",
    ),
    ("admin", "[admin]"),
    ("admin", "[admin]\nlisten = \"127.0.0.1:1\""),
    ("admin", "[admin]\nurl = \"https://a\""),
    ("admin", "[admin]\nallowed_hosts = [\"a\"]"),
    ("egress.extra_ca", "[egress]\nextra_ca = [\"ca.pem\"]"),
    ("egress.proxy", "[egress]\nproxy = \"http://a:1\""),
    ("journal", "[journal]\nsync = \"always\""),
    ("journal", "[journal]\nsegment_size = \"1MiB\""),
    ("journal", "[journal]\nsegment_age = \"1h\""),
    ("journal", "[journal]\ncompress = false"),
    ("journal", "[journal]\nkeep_size = \"1GiB\""),
    ("journal", "[journal]\nkeep_age = \"2160h\""),
    ("telemetry", "[telemetry]\nprometheus = \"127.0.0.1:1\""),
    (
        "telemetry",
        "[telemetry.otlp]\nendpoint = \"http://127.0.0.1:4318\"",
    ),
    ("log.level", "[log]\nlevel = \"debug\""),
    ("log.format", "[log]\nformat = \"json\""),
    ("concurrency.agent", "[concurrency]\nagent = 3"),
    ("concurrency.host", "[concurrency]\nhost = 3"),
    ("concurrency.wait", "[concurrency]\nwait = \"1s\""),
    ("", "[server]\nresource = \"https://a.example/mcp\""),
    ("", "[concurrency]\nplugin = 3"),
    ("", "[[journal.anchor]]\nkind = \"file\"\npath = \"/a\""),
];

#[test]
fn every_key_that_is_read_once_is_named() {
    let started = Config::default();
    for (key, text) in KEYS {
        let found: Vec<_> = parse(text)
            .waiting(&started)
            .into_iter()
            .map(|found| found.message)
            .collect();
        let expected: Vec<_> = (!key.is_empty())
            .then(|| format!("`{key}` changed, and needs a restart to be in force"))
            .into_iter()
            .collect();
        assert_eq!(found, expected, "{text}");
    }
    // What is taken away is said as well as what is added.
    let started = parse("[admin]");
    assert_eq!(Config::default().waiting(&started).len(), 1);
}

/// A field that is added to one of these does not compile here: say above whether it needs a restart.
#[test]
fn no_key_is_left_out() {
    let Config {
        server:
            Server {
                listen: _,
                tls: _,
                socket_mode: _,
                allowed_hosts: _,
                allowed_origins: _,
                resource: _,
                connections: _,
                sessions: _,
                sessions_per_agent: _,
                streams_per_agent: _,
            },
        egress: Egress {
            extra_ca: _,
            proxy: _,
        },
        journal:
            Journal {
                sync: _,
                segment_size: _,
                segment_age: _,
                compress: _,
                keep_size: _,
                keep_age: _,
            },
        log: Log {
            level: _,
            format: _,
        },
        telemetry: Telemetry {
            prometheus: _,
            otlp: _,
        },
        concurrency:
            Concurrency {
                plugin: _,
                agent: _,
                host: _,
                wait: _,
            },
        ..
    } = Config::default();
    let admin = |admin: Admin| {
        let Admin {
            listen: _,
            url: _,
            allowed_hosts: _,
        } = admin;
    };
    assert!(parse("[admin]").admin.map(admin).is_some());
}
