//! The slice: one plugin, one policy, one call, one record.
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tollgate::call::Arrival;
use tollgate::home::Home;
use tollgate::host::{Host, Options};
use tollgate::journal::record::Caller;

#[tokio::test(flavor = "multi_thread")]
async fn slice() {
    tracing_subscriber::fmt().with_env_filter("debug,cranelift=warn").init();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::create_dir(root.join("plugins")).unwrap();
    std::fs::create_dir(root.join("policies")).unwrap();
    std::fs::copy(guests::PROBE, root.join("plugins/probe.wasm")).unwrap();
    std::fs::copy(guests::TIME, root.join("plugins/time.wasm")).unwrap();
    std::fs::write(root.join("policies/probe.cedar"), "permit(principal, action in Action::\"call\", resource);\npermit(principal, action in Action::\"http\", resource);").unwrap();
    std::fs::write(root.join("policies/time.cedar"), "permit(principal, action, resource);").unwrap();
    let mut options = Options::new(Home::at(root).unwrap()).unwrap();
    options.compiler = env!("CARGO_BIN_EXE_tollgate").into();
    let host = Host::start(options).await.unwrap();
    for plugin in host.plugins() { println!("{plugin:?}"); }
    let call = async |tool: &str, arguments: &str| {
        let reply = host.call(Arrival {
            caller: Caller { agent: "me".parse().unwrap(), user: None, transport: "cli".into(), client: None },
            tool: tool.into(), arguments: arguments.to_owned().into(), progress: None,
        }, CancellationToken::new()).await;
        println!("{tool} {arguments} => {reply:#?}");
        reply
    };
    call("probe_echo", r#"{"a":1}"#).await;
    call("probe.echo", r#"{"message":"hi"}"#).await;
    call("time.now", "{}").await;
    call("probe_loop", "{}").await;
    call("probe.send", r#"{"requirement":"open","method":"GET","url":"https://10.0.0.1/"}"#).await;
    call("probe.send", r#"{"requirement":"open","method":"GET","url":"https://example.com/"}"#).await;
    host.stop().await;
    println!("{}", std::fs::read_to_string(root.join("state/journal/00000000000000000001.jsonl")).unwrap());
    let _ = Arc::strong_count(&host);
}
