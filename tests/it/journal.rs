//! The journal: whole after whatever happens, and nothing is done that it does not take.

use serde_json::json;
use tollgate::journal::record::Event;
use tollgate::reason::Reason;

use crate::harness::binary::Daemon;
use crate::harness::{Look as _, PROBE_POLICY, Setup, assert_verifies, records};
use crate::upstream::Upstream;

/// The probe may reach the fixture on this machine, in the clear.
pub(crate) fn local(upstream: &Upstream) -> Setup {
    Setup::probe_at(&upstream.origin(), PROBE_POLICY)
}

fn send(upstream: &Upstream, path: &str) -> serde_json::Value {
    json!({"requirement": "api", "method": "GET", "url": format!("http://{}{path}", upstream.plain)})
}

#[tokio::test]
async fn a_host_that_is_killed_comes_back_knowing_what_it_does_not_know() {
    let upstream = Upstream::start().await;
    let setup = local(&upstream);
    let (folder, home) = setup.make().await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let done = daemon
        .client(&token)
        .call("probe_send", &send(&upstream, "/hello"))
        .await;
    assert_eq!(done["structuredContent"]["status"], 200, "{done}");
    let client = daemon.client(&token);
    let arguments = send(&upstream, "/hold");
    let under_way = tokio::spawn(async move { client.try_call("probe_send", &arguments).await });
    upstream.arrived(2).await;
    daemon.kill().await;
    assert!(under_way.await.unwrap().is_none(), "there was no answer");
    let before = records(&home.journal());
    let intents: Vec<_> = before
        .iter()
        .filter_map(|record| match &record.event {
            Event::Intent(intent) => Some(intent.call),
            _ => None,
        })
        .collect();
    assert_eq!(intents.len(), 2);

    let mut daemon = Daemon::start(&home).await;
    let after = records(&home.journal());
    assert_eq!(
        after[..before.len()],
        before,
        "what was written stays as it was"
    );
    let recovered = after.iter().find_map(|record| match &record.event {
        Event::Recovered(recovered) => Some(recovered.clone()),
        _ => None,
    });
    assert_eq!(recovered.expect("it says so").unknown, [intents[1]]);
    let reply = daemon
        .client(&token)
        .call("probe_echo", &json!({"text": "x"}))
        .await;
    assert_eq!(reply["isError"], false, "{reply}");
    daemon.stop().await;
    assert_verifies(&home.journal());
    let seen = upstream.ledger().await;
    assert_eq!(seen.len(), 2, "nothing is run again");
    drop(folder);
}

#[tokio::test]
async fn a_torn_last_line_is_cut_and_that_is_written_down() {
    let bench = Setup::probe().start().await;
    bench.call("probe_echo", json!({"text": "x"})).await;
    bench.host.stop().await;
    let before = bench.records();
    let folder = bench.host.home().journal();
    let segment = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .max()
        .unwrap();
    let torn = br#"{"v":1,"seq":99999,"kind":"outco"#;
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&segment)
        .unwrap();
    std::io::Write::write_all(&mut file, torn).unwrap();
    drop(file);
    let home = bench.host.home().clone();
    let held = bench.folder;
    drop(bench.host);
    let bench = crate::harness::Bench::start_in(held, home).await;
    bench.verify();
    let after = bench.records();
    assert_eq!(after[..before.len()], before);
    let recovered = after[before.len()..]
        .iter()
        .find_map(|record| match &record.event {
            Event::Recovered(recovered) => Some(recovered.cut_bytes),
            _ => None,
        });
    assert_eq!(recovered, Some(torn.len() as u64));
    assert_eq!(bench.echo().await, None);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_more_stops_every_effect() {
    let upstream = Upstream::start().await;
    let (folder, home) = local(&upstream).make().await;
    // The journal's file may grow to this many KiB; the next write fails, and with it all that follow.
    let mut daemon = Daemon::start_limited(&home, 640).await;
    let token = daemon.agent("alice").await;
    let client = daemon.client(&token);
    let mut answered = 0;
    // None once the host has ended: what can't be written down is not served at all.
    let refused = loop {
        match client
            .try_call("probe_send", &send(&upstream, "/hello"))
            .await
        {
            Some(reply) if reply["isError"] == false => answered += 1,
            other => break other,
        }
        assert!(answered < 10_000, "the disk never filled");
    };
    let unavailable = |reply: &serde_json::Value| {
        let code = reply["_meta"]["dev.tollgate/refusal"]["code"].as_str();
        matches!(code, Some("journal.unavailable" | "host.draining"))
    };
    assert!(answered > 0);
    assert!(refused.as_ref().is_none_or(unavailable), "{refused:?}");
    // One more may have been under way when the disk filled; from then on there is none.
    let reached = upstream.ledger().await.len();
    assert!(reached <= answered + 1);
    for (tool, arguments) in [
        ("probe_send", send(&upstream, "/hello")),
        ("probe_echo", json!({"text": "x"})),
    ] {
        let reply = client.try_call(tool, &arguments).await;
        assert!(reply.as_ref().is_none_or(unavailable), "{reply:?}");
    }
    assert_eq!(
        upstream.ledger().await.len(),
        reached,
        "nothing was sent that could not be written down"
    );
    daemon.end().await;
    // Every request that reached upstream has its intent in what was written.
    let mut reader = tollgate::journal::Reader::new(&home.journal());
    let mut intents = 0;
    while let Ok(Some(record)) = reader.next_record() {
        intents += usize::from(matches!(record.event, Event::HostCall(_)));
    }
    assert!(intents >= reached, "{intents} intents, {reached} effects");
    drop(folder);
}

#[tokio::test]
async fn two_hosts_never_share_one_journal() {
    let bench = Setup::probe().start().await;
    let options = tollgate::host::Options::new(bench.host.home().clone()).unwrap();
    let error = tollgate::host::Host::start(options).await.unwrap_err();
    assert!(error.to_string().contains("journal"), "{error}");
    assert_eq!(bench.echo().await, None);
    assert_ne!(
        bench.call("probe_nothing", json!({})).await.reason(),
        Some(Reason::JournalUnavailable)
    );
}
