//! What monitoring is told, as it arrives at real servers: the trace of a call, and metrics.

mod collector;
mod export;
mod untold;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tollgate::telemetry::{Pauses, run, serve};

use self::collector::{Collector, Span};
use crate::harness::served::Served;
use crate::harness::web::send;
use crate::harness::{Setup, records};
use crate::journal::local;
use crate::upstream::Upstream;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn telling(setup: Setup, collector: &Collector, more: &str) -> Setup {
    setup.toml(&format!(
        "[telemetry.otlp]\nendpoint = \"http://{}\"\ninterval = \"1h\"\n{more}",
        collector.address
    ))
}

/// A host that tells, and what ends that.
struct Telling {
    served: Served,
    token: String,
    ended: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Telling {
    async fn start(setup: Setup) -> Self {
        Self::start_with(setup, Pauses(Vec::new())).await
    }

    async fn start_with(setup: Setup, pauses: Pauses) -> Self {
        let served = Served::start(setup).await;
        let token = served.agent("alice");
        let ended = CancellationToken::new();
        let task = tokio::spawn(run(Arc::clone(&served.host), pauses, ended.clone()));
        Self {
            served,
            token,
            ended,
            task,
        }
    }

    /// A call with these members of `_meta`.
    async fn call(&self, meta: Value, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
        let client = self.served.client(&self.token);
        let answer = client.request("tools/call", params).await.unwrap();
        answer.messages().pop().unwrap()
    }

    /// Waits until everything was told.
    async fn end(self) -> Served {
        self.ended.cancel();
        self.task.await.unwrap();
        self.served
    }
}

fn get(upstream: &Upstream, path: &str) -> Value {
    json!({"requirement": "api", "method": "GET", "url": format!("http://{}{path}", upstream.plain)})
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let one = found
        .next()
        .unwrap_or_else(|| panic!("no `{name}` in {spans:#?}"));
    assert!(found.next().is_none(), "two `{name}` in {spans:#?}");
    one
}

#[tokio::test]
async fn a_call_is_a_trace_that_goes_on_from_its_clients() {
    let upstream = Upstream::start().await;
    let collector = Collector::start([]).await;
    let telling = Telling::start(telling(local(&upstream), &collector, "")).await;
    let meta = json!({"traceparent": PARENT, "tracestate": "vendor=1"});
    let message = telling
        .call(meta, "probe_send", get(&upstream, "/hello?q=1"))
        .await;
    assert_eq!(
        message["result"]["structuredContent"]["status"], 200,
        "{message}"
    );
    let served = telling.end().await;

    let spans = collector.spans();
    let call = named(&spans, "tools/call probe_send");
    assert_eq!(
        (call.trace.as_str(), call.parent.as_str()),
        (TRACE, "00f067aa0ba902b7")
    );
    assert_eq!(
        (call.state.as_str(), call.kind, call.status),
        ("vendor=1", 2, 0)
    );
    for (key, value) in [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "probe_send"),
        ("network.transport", "tcp"),
        ("tollgate.agent", "spiffe://tollgate.local/agent/alice"),
        ("tollgate.status", "ok"),
    ] {
        assert_eq!(call.at(key), value, "{call:#?}");
    }
    let id = call.at("tollgate.call");
    let journal = served.host.home().journal();
    assert!(records(&journal).iter().any(|record| {
        record
            .event
            .call()
            .is_some_and(|call| call.to_string() == id)
    }));
    let instance = named(&spans, "execute_tool probe_send");
    assert_eq!(instance.parent, call.id);
    assert!(instance.at("tollgate.fuel").parse::<u64>().unwrap() > 0);
    let request = named(&spans, "GET");
    assert_eq!((&request.parent, request.kind), (&instance.id, 3));
    assert_eq!(request.at("http.response.status_code"), "200");
    assert_eq!(request.at("server.address"), "127.0.0.1");
    assert_eq!(request.at("server.port"), upstream.plain.port().to_string());
    assert_eq!(request.at("tollgate.policies"), "probe.http");
    let decisions: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "decision")
        .collect();
    assert_eq!(decisions.len(), 2, "{spans:#?}");
    for (decision, (parent, policy)) in decisions
        .iter()
        .zip([(&call.id, "probe.calls"), (&request.id, "probe.http")])
    {
        assert_eq!(&decision.parent, parent);
        assert_eq!(decision.at("tollgate.decision"), "allow");
        assert_eq!(decision.at("tollgate.policies"), policy);
    }
    for span in &spans {
        assert_eq!(span.trace, TRACE);
        assert!(span.times.0 <= span.times.1 && span.times.0 >= call.times.0);
        assert!(span.times.1 <= call.times.1, "{span:#?} {call:#?}");
    }
    let metrics = collector.metrics();
    assert_eq!(
        metrics["tollgate.calls{gen_ai.tool.name=probe_send,tollgate.status=ok}"],
        1.0
    );
    assert_eq!(
        metrics["tollgate.host_calls{tollgate.capability=http,tollgate.plugin=probe,tollgate.status=ok}"],
        1.0
    );
    assert_eq!(
        metrics["mcp.server.operation.duration{gen_ai.tool.name=probe_send,mcp.method.name=tools/call,tollgate.status=ok}"],
        1.0
    );
    assert_eq!(metrics["tollgate.journal.writable{}"], 1.0);
    assert_eq!(metrics["tollgate.calls.active{}"], 0.0);
    // That it tells, and where to, was written down before.
    let changed = records(&journal).into_iter().any(|record| {
        matches!(record.event, tollgate::journal::record::Event::Changed(changed)
            if changed.change == "telemetry.sent"
                && changed.subject == Some(format!("http://{}", collector.address)))
    });
    assert!(changed);
}

#[tokio::test]
async fn whichever_way_a_call_takes_through_the_protocol_its_trace_goes_on() {
    let collector = Collector::start([]).await;
    let telling = Telling::start(telling(Setup::probe(), &collector, "")).await;
    // With a token for progress it is not answered directly.
    let with_progress = json!({"traceparent": PARENT, "progressToken": 1});
    telling
        .call(with_progress, "probe_echo", json!({"text": "x"}))
        .await;
    // Malformed, it is no parent, and the call's own id is the trace's.
    let malformed = json!({"traceparent": format!("{PARENT}-"), "tracestate": 1});
    telling
        .call(malformed, "probe_echo", json!({"text": "x"}))
        .await;
    telling
        .call(json!({}), "probe_echo", json!({"text": "x"}))
        .await;
    telling.end().await;
    let spans = collector.spans();
    let calls: Vec<_> = spans.iter().filter(|span| span.kind == 2).collect();
    assert_eq!(calls.len(), 3);
    assert_eq!(
        (calls[0].trace.as_str(), calls[0].parent.as_str()),
        (TRACE, "00f067aa0ba902b7")
    );
    for call in &calls[1..] {
        assert_eq!(call.trace, call.at("tollgate.call").replace('-', ""));
        assert_eq!(call.parent, "");
    }
}

#[tokio::test]
async fn a_client_that_records_nothing_leaves_no_trace_unless_all_are_wanted() {
    for (more, expected) in [("", 0), ("sample = \"all\"", 1)] {
        let collector = Collector::start([]).await;
        let telling = Telling::start(telling(Setup::probe(), &collector, more)).await;
        let unsampled = json!({"traceparent": PARENT.replace("-01", "-00")});
        telling
            .call(unsampled, "probe_echo", json!({"text": "x"}))
            .await;
        telling.end().await;
        let calls = collector
            .spans()
            .iter()
            .filter(|span| span.kind == 2)
            .count();
        assert_eq!(calls, expected, "{more}");
        // It is counted all the same.
        let counted = "tollgate.calls{gen_ai.tool.name=probe_echo,tollgate.status=ok}";
        assert_eq!(collector.metrics()[counted], 1.0);
    }
}

#[tokio::test]
async fn what_is_refused_or_held_says_so() {
    let upstream = Upstream::start().await;
    let collector = Collector::start([]).await;
    let setup = local(&upstream).toml("[plugin.probe.tool.echo]\ntier = \"hold\"");
    let telling = Telling::start(telling(setup, &collector, "")).await;
    telling
        .call(json!({}), "probe_echo", json!({"text": "x"}))
        .await;
    telling.call(json!({}), "probe_made_up", json!({})).await;
    let elsewhere =
        json!({"requirement": "api", "method": "GET", "url": "https://elsewhere.example/x"});
    telling.call(json!({}), "probe_send", elsewhere).await;
    telling.end().await;
    let spans = collector.spans();
    let held = named(&spans, "tools/call probe_echo");
    assert_eq!((held.at("tollgate.status"), held.status), ("held", 0));
    let of = |call: &Span| -> Vec<Span> {
        let within = spans
            .iter()
            .filter(|span| span.trace == call.trace && span.id != call.id);
        within.cloned().collect()
    };
    assert_eq!(of(held)[0].at("tollgate.decision"), "hold");
    // A name that there is no tool of is nobody's.
    let unknown = named(&spans, "tools/call");
    assert_eq!(
        (unknown.at("tollgate.status"), unknown.at("error.type")),
        ("refused", "name.unknown")
    );
    assert_eq!((unknown.at("gen_ai.tool.name"), unknown.status), ("", 2));
    let refused = named(&spans, "http");
    assert_eq!(
        (refused.at("error.type"), refused.status),
        ("egress.host_not_granted", 2)
    );
    assert_eq!(refused.at("server.address"), "");
    let metrics = collector.metrics();
    for series in [
        "tollgate.calls{error.type=approval.required,gen_ai.tool.name=probe_echo,tollgate.status=held}",
        "tollgate.calls{error.type=name.unknown,gen_ai.tool.name=unknown,tollgate.status=refused}",
        "tollgate.host_calls{error.type=egress.host_not_granted,tollgate.capability=http,tollgate.plugin=probe,tollgate.status=refused}",
        "tollgate.decisions{tollgate.decision=hold,tollgate.question=call}",
        "tollgate.approvals.pending{}",
    ] {
        assert_eq!(metrics.get(series), Some(&1.0), "{series}: {metrics:#?}");
    }
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again_and_one_that_is_gone_stops_nothing() {
    let collector = Collector::start([503, 429]).await;
    let setup = telling(Setup::probe(), &collector, "metrics = false");
    let pauses = Pauses(vec![Duration::ZERO, Duration::ZERO]);
    let telling = Telling::start_with(setup, pauses).await;
    telling
        .call(json!({}), "probe_echo", json!({"text": "x"}))
        .await;
    // Sent by itself, before anything ends.
    while collector.all().len() < 3 {
        tokio::task::yield_now().await;
    }
    telling.end().await;
    let sent = collector.all();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|one| one.body == sent[0].body));

    let gone = Collector::start([]).await;
    let mut setup = Setup::probe();
    // A port that nobody listens on any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    setup = setup.toml(&format!("[telemetry.otlp]\nendpoint = \"http://{nobody}\""));
    let telling = Telling::start(setup).await;
    let message = telling
        .call(json!({}), "probe_echo", json!({"text": "x"}))
        .await;
    assert_eq!(message["result"]["isError"], false, "{message}");
    telling.end().await;
    assert!(gone.all().is_empty());
}

#[tokio::test]
async fn a_header_goes_along_from_its_file() {
    let collector = Collector::start([]).await;
    // Before the host starts: it tells of itself at once.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("otlp.key");
    std::fs::write(&path, "Bearer of-the-collector\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let setup = telling(
        Setup::probe(),
        &collector,
        &format!(
            "[telemetry.otlp.headers]\nauthorization = {{ source = \"file\", path = \"{}\" }}",
            path.display()
        ),
    );
    let telling = Telling::start(setup).await;
    telling
        .call(json!({}), "probe_echo", json!({"text": "x"}))
        .await;
    telling.end().await;
    let sent = collector.all();
    assert!(!sent.is_empty());
    for one in sent {
        assert_eq!(one.headers["authorization"], "Bearer of-the-collector");
        assert_eq!(one.headers["content-type"], "application/x-protobuf");
        assert!(!String::from_utf8_lossy(&one.body).contains("of-the-collector"));
    }
}

#[tokio::test]
async fn prometheus_reads_metrics_and_a_web_page_does_not() {
    let served = Served::start(Setup::probe()).await;
    let token = served.agent("alice");
    served.echo(&token).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Arc::clone(&served.host)));
    let page = send(address, "GET", "/metrics", &[], "").await;
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    for line in [
        r#"tollgate_calls_total{tool="probe_echo",status="ok",reason=""} 1"#,
        r#"tollgate_call_duration_seconds_count{method="tools/call",tool="probe_echo",status="ok"} 1"#,
        "tollgate_plugins_serving 1",
        "tollgate_journal_writable 1",
        "tollgate_calls_active 0",
    ] {
        assert!(
            page.body.lines().any(|one| one == line),
            "{line}: {}",
            page.body
        );
    }
    // Each metric has its type before its first value, and none comes twice.
    let mut types = std::collections::BTreeSet::new();
    for line in page.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(
                types.insert(rest.split(' ').next().unwrap().to_owned()),
                "{line}"
            );
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| {
                    name.strip_suffix(end)
                        .filter(|family| types.contains(*family))
                })
                .unwrap_or(name);
            assert!(types.contains(family), "{line}");
        }
    }
    let other = send(
        address,
        "GET",
        "/metrics",
        &[("host", "rebound.example")],
        "",
    )
    .await;
    assert_eq!(other.status, 403);
    assert!(!other.body.contains("tollgate_"));
    assert_eq!(send(address, "GET", "/", &[], "").await.status, 404);
    assert_eq!(send(address, "POST", "/metrics", &[], "").await.status, 405);
}
