//! A warm pure call over MCP and HTTP, beside the same server library with a tool that does nothing:
//! a round trip on connections that stay open, in both eras of the protocol, and how many of them there are
//! in a second. The two servers are asked in turns, so that their ratio holds whatever else the machine does.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that can't set up has nothing to measure"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio::net::TcpListener;
use tollgate::mcp::HttpConfig;

use support::client::{self, Client, Times};
use support::{home, measuring, median, spread, start};

const NEWEST: &str = "2026-07-28";
const OLDER: &str = "2025-06-18";

/// Of each server, in turns.
const CALLS: usize = 20_000;

/// A tool that does nothing.
struct Native;

impl ServerHandler for Native {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("native", "1"))
    }

    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let result = CallToolResult::success(vec![ContentBlock::text("acted")]);
        Ok(CallToolResponse::Complete(result))
    }
}

/// Served as `tollgate::mcp::serve` does, without all that it adds.
async fn native() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = StreamableHttpService::new(
        || Ok(Native),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default().with_json_response(true),
    );
    let router = axum::Router::new().route_service("/mcp", service);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(
                    TokioIo::new(stream),
                    TowerToHyperService::new(router.clone()),
                );
            tokio::spawn(connection);
        }
    });
    address
}

fn round_trip(c: &mut Criterion) {
    let runtime = support::runtime();
    // One agent asks as fast as it can.
    let rate = "[rate]\nper_second = 1_000_000\nburst = 10_000_000\n";
    let folder = home(&[("plain", guests::MISFIT_PLAIN)], rate);
    let host = runtime.block_on(start(folder.path()));
    let issued = host.identities().issue("bench", None).unwrap();
    let token = issued.token.expose();
    let (native, served) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tollgate::mcp::serve(listener, host.clone(), HttpConfig::default());
        tokio::spawn(async move { serving.await.unwrap() });
        (native().await, address)
    });
    let mut client = Client::start();
    let mut group = c.benchmark_group("mcp");
    for version in [NEWEST, OLDER] {
        for connections in [1, 8, 64] {
            group.throughput(Throughput::Elements(connections as u64));
            let servers = [("native", native), ("tollgate", served)].map(|(name, address)| {
                (
                    name,
                    client.open(address, token, "plain_act", version, connections),
                )
            });
            for (name, server) in servers {
                let id = BenchmarkId::new(format!("{name}/{version}"), connections);
                group.bench_function(id, |b| {
                    b.iter_custom(|calls| {
                        let calls = usize::try_from(calls).unwrap();
                        let times = client.run(&[server], calls);
                        Duration::from_nanos(times[0].turns)
                    });
                });
            }
            if measuring() {
                let times = client.run(&servers.map(|(_, server)| server), CALLS / connections);
                beside(&format!("{version}/{connections}"), &times);
                for ((name, _), times) in servers.iter().zip(times) {
                    let single = times.single.into_iter().map(Duration::from_nanos);
                    spread(
                        &format!("mcp/{name}/{version}/{connections}"),
                        single.collect(),
                    );
                }
            }
        }
    }
    group.finish();
    runtime.block_on(host.stop());
}

/// Prints what the host gets done beside the bare server: promised are 60 % of its calls a second at least, and 1.5
/// times its median at most.
#[expect(clippy::print_stderr, reason = "a note beside criterion's own report")]
#[expect(clippy::cast_precision_loss, reason = "a ratio of measured times")]
fn beside(label: &str, times: &[Times]) {
    let [native, tollgate] = times else { return };
    let a_second = |times: &Times| times.single.len() as f64 * 1e9 / times.turns.max(1) as f64;
    let (bare, host) = (a_second(native), a_second(tollgate));
    let medians = [native, tollgate].map(|times| median(&times.single) as f64);
    eprintln!(
        "mcp/beside/{label}: {host:.0} calls a second, {:.0} % of {bare:.0}; p50 {:.2} times as long",
        100.0 * host / bare,
        medians[1] / medians[0].max(1.0)
    );
}

criterion_group!(benches, round_trip);

fn main() {
    client::become_it();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
