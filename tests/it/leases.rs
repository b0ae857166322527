//! Credentials that are lent: they appear at a real server of secrets, and are dead after the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tollgate::clock::{Clock, SharedClock, SystemClock};
use tollgate::egress::{SystemResolver, TcpConnector};
use tollgate::entropy::SystemEntropy;
use tollgate::home::Home;
use tollgate::host::{Host, Options};
use tollgate::id::TaskId;
use tollgate::journal::record::{Event, LeaseChange};
use tollgate::reason::Reason;
use tollgate::secret::{SecretValue, Store};
use tollgate::task::End;

use crate::harness::binary::{Daemon, run};
use crate::harness::{
    Look as _, PROBE_POLICY, Setup, arrival, assert_verifies, program, reason_of, records,
};
use crate::servers::{APP_KEY, CLIENT_SECRET, GitHub, Oidc, OpenBao, Queue, until, write_private};

/// The probe, which may reach `origin` on this machine.
fn local(origin: &str) -> Setup {
    let policy = format!(
        "{PROBE_POLICY}permit (principal in Group::\"everyone\", action in Action::\"connect\", resource in Plugin::\"probe\")\n\
         when {{ context.address == ip(\"127.0.0.1\") }};"
    );
    Setup::empty()
        .component("probe", guests::PROBE)
        .policy("probe", &policy)
        .toml(&format!("[plugin.probe.settings]\norigin = \"{origin}\""))
}

const WORKER: &str = "[secret.probe.token]\nsource = \"vault\"\npath = \"rabbitmq/creds/worker\"\nfield = \"password\"\nuser_field = \"username\"";

fn work(queue: &Queue) -> Value {
    json!({
        "requirement": "api", "method": "GET", "url": format!("{}/work", queue.origin()),
        "credentials": [{"secret": "token", "scheme": "basic", "name": "whoever"}],
    })
}

fn changes(home: &Home) -> Vec<LeaseChange> {
    let all = records(&home.journal()).into_iter();
    all.filter_map(|record| match record.event {
        Event::Lease(change) => Some(change),
        _ => None,
    })
    .collect()
}

fn stages(home: &Home, secret: &str) -> Vec<String> {
    let changes = changes(home).into_iter();
    changes
        .filter(|change| change.secret == secret)
        .map(|change| change.stage)
        .collect()
}

/// Asserts that no file of the home holds `text`, the log and the database included.
#[track_caller]
fn nowhere(home: &Home, text: &str) {
    let mut folders = vec![home.root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                let found = bytes
                    .windows(text.len())
                    .any(|window| window == text.as_bytes());
                assert!(!found, "`{}` holds a secret", path.display());
            }
        }
    }
}

/// The machine's clock, so many seconds ahead.
#[derive(Debug, Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn now(&self) -> Duration {
        SystemClock.now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// A host within this process, over the machine's own network.
async fn host(setup: &Setup) -> (TempDir, Arc<Host>) {
    host_by(setup, Arc::new(SystemClock)).await
}

async fn host_by(setup: &Setup, clock: SharedClock) -> (TempDir, Arc<Host>) {
    let (folder, home) = setup.make().await;
    let host = Host::start(Options {
        home,
        clock,
        entropy: Arc::new(SystemEntropy),
        resolver: Arc::new(SystemResolver),
        connector: Arc::new(TcpConnector),
        compiler: program(),
    })
    .await
    .unwrap();
    (folder, host)
}

/// A task of `alice` for the probe.
async fn started(host: &Host) -> TaskId {
    let new = crate::tasks::task("alice", &["probe.*"]);
    host.start_task(new).await.unwrap().id
}

#[tokio::test]
pub(crate) async fn j09_a_lease_appears_upstream_and_is_dead_after_the_call() {
    let _row = crate::attacks::stands_for("J09");
    let queue = Queue::start().await;
    let bao = OpenBao::start(&queue).await;
    let setup = local(&queue.origin()).toml(WORKER).toml(&bao.table().await);
    let (_folder, home) = setup.make().await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let mut arguments = work(&queue);
    arguments["repeat"] = json!(2);
    let reply = daemon.client(&token).call("probe_send", &arguments).await;
    assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    queue.empty().await;
    bao.childless().await;
    let worked = queue.worked();
    assert_eq!((worked.len(), queue.refused()), (2, 0));
    assert_eq!(worked[0], worked[1], "one lease for the call");
    assert!(
        worked[0].starts_with("token-"),
        "the engine's own name: {worked:?}"
    );
    until("the queue has confirmed it", || async {
        stages(&home, "(bond)")
            .last()
            .is_some_and(|stage| stage == "revoked")
            && stages(&home, "token")
                .last()
                .is_some_and(|stage| stage == "revoked")
    })
    .await;
    assert_eq!(
        stages(&home, "token"),
        ["wanted", "live", "pending", "revoked"]
    );
    let ended = changes(&home);
    let ended = ended
        .iter()
        .find(|c| c.secret == "token" && c.stage == "pending")
        .unwrap();
    assert!(ended.revocable && ended.uses == 2 && ended.expires.is_some());
    assert_eq!(ended.origin, queue.origin());
    assert_eq!(ended.scheme, "basic");
    let listed = run(&home, &["leases", "--format", "json"]).await;
    assert_eq!((listed.code, listed.out.as_str()), (0, ""));
    for password in queue.passwords() {
        assert!(!reply.to_string().contains(&password) && !daemon.said().contains(&password));
        nowhere(&home, &password);
    }
    daemon.stop().await;
    assert_verifies(&home.journal());
}

#[tokio::test]
async fn j09_a_host_that_is_killed_takes_back_at_its_next_start() {
    let queue = Queue::start().await;
    let bao = OpenBao::start(&queue).await;
    let setup = local(&queue.origin()).toml(WORKER).toml(&bao.table().await);
    let (_folder, home) = setup.make().await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    queue.hold();
    let client = daemon.client(&token);
    let arguments = work(&queue);
    let call = tokio::spawn(async move { client.try_call("probe_send", &arguments).await });
    queue.at_work(1).await;
    daemon.kill().await;
    drop(call.await);
    assert_eq!(queue.users(), 1, "the credential outlives the host");
    assert_eq!(bao.children().await, 1);
    for password in queue.passwords() {
        nowhere(&home, &password);
    }
    let mut daemon = Daemon::start(&home).await;
    queue.empty().await;
    bao.childless().await;
    until("nothing is left", || async {
        run(&home, &["leases", "--format", "json"])
            .await
            .out
            .is_empty()
    })
    .await;
    assert_eq!(stages(&home, "token").last().unwrap(), "revoked");
    daemon.stop().await;
    assert_verifies(&home.journal());
}

#[tokio::test]
pub(crate) async fn j10_what_can_not_be_taken_back_is_pending_visible_retried_and_done() {
    let _row = crate::attacks::stands_for("J10");
    let queue = Queue::start().await;
    let bao = OpenBao::start(&queue).await;
    let setup = local(&queue.origin())
        .toml(WORKER)
        .toml(&bao.table().await)
        .toml("[leases]\npending = 1");
    let (_folder, home) = setup.make().await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    queue.down(true);
    let client = daemon.client(&token);
    let reply = client.call("probe_send", &work(&queue)).await;
    assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    queue.failed(1).await;
    until("it is shown", || async {
        let said = run(&home, &["leases", "--pending", "--format", "json"]).await;
        said.lines().iter().any(|lease| {
            lease["stage"] == "pending" && lease["fault"].is_string() && lease["secret"] == "token"
        })
    })
    .await;
    let shown = run(&home, &["leases", "--pending"]).await;
    assert!(
        shown.out.contains("status 4") || shown.out.contains("status 5"),
        "{shown:?}"
    );
    // Too many already: none is lent before.
    let before = queue.passwords().len();
    let reply = client.call("probe_send", &work(&queue)).await;
    assert_eq!(
        reply["structuredContent"]["reason"], "lease.revoke_pending",
        "{reply}"
    );
    assert_eq!(queue.passwords().len(), before);
    assert_eq!(queue.users(), 1);
    queue.down(false);
    queue.empty().await;
    until("nothing waits", || async {
        run(&home, &["leases", "--format", "json"])
            .await
            .out
            .is_empty()
    })
    .await;
    let taken = changes(&home);
    assert!(
        taken
            .iter()
            .any(|c| c.stage == "pending" && c.attempts == 1 && c.detail.is_some())
    );
    assert_eq!(stages(&home, "token").last().unwrap(), "revoked");
    let reply = client.call("probe_send", &work(&queue)).await;
    assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    daemon.stop().await;
    let refused = records(&home.journal()).into_iter();
    let refused = refused.filter(|r| reason_of(&r.event) == Some(Reason::LeaseBacklog));
    assert_eq!(refused.count(), 1);
    assert_verifies(&home.journal());
}

#[tokio::test]
async fn the_end_of_a_task_takes_its_token_and_all_that_hangs_on_it() {
    let queue = Queue::start().await;
    let bao = OpenBao::start(&queue).await;
    let setup = local(&queue.origin())
        .toml(&format!("{WORKER}\nper = \"task\""))
        .toml(&bao.table().await);
    let (_folder, host) = host(&setup).await;
    let task = started(&host).await;
    for _ in 0..2 {
        let mut arrival = arrival("alice", "probe_send", work(&queue).to_string());
        arrival.caller.task = Some(task);
        let reply = host.call(arrival, CancellationToken::new()).await;
        assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    }
    let worked = queue.worked();
    assert_eq!(worked[0], worked[1], "one lease for the task");
    assert_eq!((queue.users(), bao.children().await), (1, 1));
    assert!(
        host.leases()
            .list()
            .iter()
            .all(|lease| lease.task == Some(task))
    );
    host.end_task(task, End::Ended, "done").await.unwrap();
    queue.empty().await;
    bao.childless().await;
    host.stop().await;
    assert!(host.leases().list().is_empty());
}

#[tokio::test]
async fn what_a_task_holds_is_renewed_before_its_time_is_over() {
    let queue = Queue::start().await;
    let bao = OpenBao::start(&queue).await;
    let setup = local(&queue.origin())
        .toml(&format!("{WORKER}\nper = \"task\""))
        .toml(&bao.table().await);
    let clock = Arc::new(Ahead::default());
    let (_folder, host) = host_by(&setup, clock.clone()).await;
    let task = started(&host).await;
    let call = || {
        let mut arrival = arrival("alice", "probe_send", work(&queue).to_string());
        arrival.caller.task = Some(task);
        host.call(arrival, CancellationToken::new())
    };
    let ends = || {
        let leases = host.leases().list().into_iter();
        leases
            .filter(|lease| lease.secret == "token")
            .map(|lease| (lease.lease, lease.expires.unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(*call().await.at("/status"), 200);
    let before = ends();
    // Of five minutes, as the engine gives them, less than a third is left.
    clock.0.store(240, Ordering::SeqCst);
    assert_eq!(*call().await.at("/status"), 200);
    let after = ends();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_eq!(before[0].0, after[0].0, "the same lease");
    assert!(after[0].1 > before[0].1, "{before:?} {after:?}");
    // Over, as far as this host can tell: the task gets another, and the old one is taken back.
    clock.0.store(2_000, Ordering::SeqCst);
    assert_eq!(*call().await.at("/status"), 200);
    let worked = queue.worked();
    assert_eq!(worked[0], worked[1]);
    host.end_task(task, End::Ended, "done").await.unwrap();
    queue.empty().await;
    bao.childless().await;
    host.stop().await;
}

#[tokio::test]
pub(crate) async fn j12_a_lease_is_worth_nothing_once_policy_says_no() {
    let _row = crate::attacks::stands_for("J12");
    let queue = Queue::start().await;
    let bao = OpenBao::start(&queue).await;
    let setup = local(&queue.origin())
        .toml(&format!("{WORKER}\nper = \"task\""))
        .toml(&bao.table().await);
    let (_folder, host) = host(&setup).await;
    let task = started(&host).await;
    let call = || {
        let mut arrival = arrival("alice", "probe_send", work(&queue).to_string());
        arrival.caller.task = Some(task);
        host.call(arrival, CancellationToken::new())
    };
    assert_eq!(*call().await.at("/status"), 200);
    let file = host.home().policies().join("probe.cedar");
    let text = std::fs::read_to_string(&file).unwrap();
    let tighter = format!(
        "{text}\n@id(\"no-more\")\nforbid (principal, action in Action::\"use-secret\", resource in Plugin::\"probe\")\n\
         when {{ context.scheme == \"basic\" }};"
    );
    crate::harness::place(&file, tighter.as_bytes());
    host.refresh().await;
    let reply = call().await;
    assert_eq!(*reply.at("/reason"), "policy.forbidden", "{}", reply.text());
    let refused: Vec<_> = records(&host.home().journal())
        .into_iter()
        .filter(|record| record.event.call() == Some(reply.call))
        .filter_map(|record| reason_of(&record.event))
        .collect();
    assert_eq!(refused, [Reason::PolicyForbidden]);
    // It is still lent to the task, and no use to it.
    assert_eq!(
        (queue.users(), queue.worked().len(), queue.refused()),
        (1, 1, 0)
    );
    host.end_task(task, End::Ended, "done").await.unwrap();
    queue.empty().await;
    host.stop().await;
}

#[tokio::test]
async fn an_operator_takes_one_lease_back_from_a_running_call() {
    let queue = Queue::start().await;
    let bao = OpenBao::start(&queue).await;
    // A token file this time, of a token that is not the administrator's.
    let (_, made) = bao
        .ask(
            "POST",
            "auth/token/create",
            Some(&json!({"policies": ["tollgate"], "ttl": "1h"})),
        )
        .await;
    let file = bao.folder.path().join("token");
    write_private(&file, made["auth"]["client_token"].as_str().unwrap());
    let vault = format!(
        "[vault]\naddress = \"{}\"\ntoken_file = \"{}\"",
        bao.address,
        file.display()
    );
    let setup = local(&queue.origin()).toml(WORKER).toml(&vault);
    let (_folder, host) = host(&setup).await;
    queue.hold();
    let running = tokio::spawn({
        let (host, queue) = (host.clone(), queue.clone());
        async move {
            let arrival = arrival("alice", "probe_send", work(&queue).to_string());
            host.call(arrival, CancellationToken::new()).await
        }
    });
    queue.at_work(1).await;
    let lease = host
        .leases()
        .list()
        .into_iter()
        .find(|l| l.secret == "token");
    assert_eq!(host.leases().revoke(lease.unwrap().lease).len(), 1);
    queue.empty().await;
    assert_eq!(bao.children().await, 1, "the call still runs");
    running.abort();
    drop(running.await);
    bao.childless().await;
    host.stop().await;
}

#[tokio::test]
pub(crate) async fn a_kept_value_is_read_and_typed_as_one_that_stays() {
    let _row = crate::attacks::stands_for("J11");
    let queue = Queue::start().await;
    let bao = OpenBao::start(&queue).await;
    let kept =
        "[secret.probe.token]\nsource = \"vault\"\npath = \"secret/data/app\"\nfield = \"key\"";
    let setup = local(&queue.origin()).toml(kept).toml(&bao.table().await);
    let (_folder, host) = host(&setup).await;
    let mut arguments = work(&queue);
    arguments["credentials"][0]["scheme"] = json!("bearer");
    let reply = host
        .call(
            arrival("alice", "probe_send", arguments.to_string()),
            CancellationToken::new(),
        )
        .await;
    assert_eq!(*reply.at("/status"), 401, "{}", reply.text());
    assert_eq!(bao.children().await, 0);
    let home = host.home().clone();
    host.stop().await;
    let changes = changes(&home);
    assert!(
        changes
            .iter()
            .all(|change| !change.revocable && change.source == "vault")
    );
    assert_eq!(stages(&home, "token"), ["wanted", "live", "left"], "J11");
    nowhere(&home, "kept-canary-8d1f");
}

#[tokio::test]
async fn a_refresh_token_is_rotated_on_the_disk_before_its_access_token_is_used() {
    let oidc = Oidc::start().await;
    let secret = format!(
        "[secret.probe.token]\nsource = \"oauth\"\ntoken_url = \"{}/token\"\nclient_id = \"tollgate\"\nclient_secret = \"client\"",
        oidc.issuer
    );
    let setup = local(&oidc.issuer)
        .toml(&secret)
        .secret("probe", "token", &oidc.token)
        .secret("probe", "client", CLIENT_SECRET);
    let (_folder, home) = setup.make().await;
    let store = Store::new(&home, Arc::new(SystemEntropy));
    let probe = "probe".parse().unwrap();
    let stored = || -> SecretValue { store.value(&probe, "token").unwrap() };
    let mut seen = vec![stored().expose().to_vec()];
    let me = json!({
        "requirement": "api", "method": "GET", "url": format!("{}/me", oidc.issuer),
        "credentials": [{"secret": "token", "scheme": "bearer"}],
    });
    let mut token = None;
    // Each host has nothing in memory, so each refreshes, with what the one before it kept.
    for _ in 0..3 {
        let mut daemon = Daemon::start(&home).await;
        if token.is_none() {
            token = Some(daemon.agent("alice").await);
        }
        let token = token.as_deref().unwrap();
        let client = daemon.client(token);
        // At once: a refresh token that was sent twice would void the grant.
        let replies = tokio::join!(
            client.call("probe_send", &me),
            client.call("probe_send", &me),
            client.call("probe_send", &me)
        );
        for reply in [replies.0, replies.1, replies.2] {
            assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
            let body = reply["structuredContent"]["body"].as_str().unwrap();
            assert!(body.contains("anna"), "{reply}");
        }
        let now = stored().expose().to_vec();
        assert!(!seen.contains(&now), "it is a new one each time");
        seen.push(now);
        assert!(!daemon.said().contains(CLIENT_SECRET));
        daemon.kill().await;
    }
    let changes = changes(&home);
    assert!(
        changes
            .iter()
            .all(|change| change.source == "oauth" && !change.revocable)
    );
    assert!(
        changes
            .iter()
            .any(|change| change.stage == "live" && change.expires.is_some())
    );
    for token in seen {
        nowhere(&home, std::str::from_utf8(&token).unwrap());
    }
}

#[tokio::test]
async fn the_host_signs_and_the_plugin_never_holds_the_key() {
    let bench = Setup::probe()
        .secret(
            "probe",
            "token",
            r#"{"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"canary-of-a-key-8Zq1"}"#,
        )
        .start()
        .await;
    let send = |name: &str, headers: Value| {
        let arguments = json!({
            "requirement": "api", "method": "POST", "url": "https://granted.example/echo", "body": "{}",
            "headers": headers,
            "credentials": [{"secret": "token", "scheme": "sign_aws", "name": name}],
        });
        bench.call("probe_send", arguments)
    };
    let reply = send(
        "eu-central-1/sqs",
        json!([["content-type", "application/json"]]),
    )
    .await;
    assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    let seen = bench.upstream.ledger().await;
    let signature = seen[0].header("authorization");
    assert!(signature[0].starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/eu-central-1/sqs/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature="), "{signature:?}");
    assert_eq!(seen[0].header("x-amz-date").len(), 1);
    assert!(!reply.everything().contains("canary-of-a-key"));
    assert!(!seen[0].text().contains("canary-of-a-key"));
    // What the host sets is the host's.
    let reply = send(
        "eu-central-1/sqs",
        json!([["x-amz-date", "20200101T000000Z"]]),
    )
    .await;
    assert_eq!(*reply.at("/reason"), "egress.request_invalid");
    let reply = send("eu central/s3", json!([])).await;
    assert_eq!(*reply.at("/reason"), "egress.request_invalid");
    assert_eq!(bench.upstream.ledger().await.len(), 1);
}

#[tokio::test]
async fn a_token_of_an_installation_is_narrow_and_given_back() {
    let github = GitHub::start().await;
    let app = format!(
        "[secret.probe.token]\nsource = \"github-app\"\napi = \"{}\"\napp = \"12345\"\ninstallation = 7\n\
         repositories = [\"docs\"]\npermissions = {{ contents = \"read\" }}",
        github.origin
    );
    let setup = local(&github.origin)
        .toml(&app)
        .secret("probe", "token", APP_KEY);
    let (_folder, host) = host(&setup).await;
    let read = json!({
        "requirement": "api", "method": "GET", "url": format!("{}/repos/a/docs", github.origin), "repeat": 2,
        "credentials": [{"secret": "token", "scheme": "bearer"}],
    });
    let reply = host
        .call(
            arrival("alice", "probe_send", read.to_string()),
            CancellationToken::new(),
        )
        .await;
    assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    until("it is given back", || async { github.alive() == 0 }).await;
    assert_eq!((github.served(), github.made().len()), (2, 1));
    assert_eq!(
        github.wishes(),
        [json!({"repositories": ["docs"], "permissions": {"contents": "read"}})]
    );
    let home = host.home().clone();
    host.stop().await;
    assert_eq!(
        stages(&home, "token"),
        ["wanted", "live", "pending", "revoked"]
    );
    nowhere(&home, &github.made()[0]);
}

#[tokio::test]
async fn a_signed_token_is_for_one_audience_and_short() {
    let jwt = "[secret.probe.token]\nsource = \"jwt\"\nissuer = \"https://tollgate.example\"\nsubject = \"tollgate\"\n\
               audience = \"https://granted.example\"\nkey_id = \"k1\"";
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let bench = Setup::probe()
        .toml(jwt)
        .secret("probe", "token", &key)
        .start()
        .await;
    let arguments = json!({
        "requirement": "api", "method": "GET", "url": "https://granted.example/echo",
        "credentials": [{"secret": "token", "scheme": "bearer"}],
    });
    let reply = bench.call("probe_send", arguments).await;
    assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    let seen = bench.upstream.ledger().await;
    let token = seen[0].header("authorization")[0].clone();
    let token = token.strip_prefix("Bearer ").unwrap();
    assert!(
        !reply.everything().contains(token),
        "redacted where it is echoed"
    );
    let read = |part: &str| -> Value {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(part)
            .unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let mut parts = token.split('.');
    let (header, claims) = (read(parts.next().unwrap()), read(parts.next().unwrap()));
    assert_eq!(header, json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}));
    assert_eq!(claims["aud"], "https://granted.example");
    let lives = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert!(lives <= 120, "{claims}");
    let ended: Vec<_> = changes(bench.host.home());
    let made = |change: &&LeaseChange| change.stage != "wanted";
    // Live, and left.
    assert_eq!(ended.iter().filter(made).count(), 2);
    assert!(
        ended
            .iter()
            .filter(made)
            .all(|change| !change.revocable && change.expires.is_some())
    );
}
