//! Commands over a real socket, to a real host without plugins.

use serde_json::json;

use super::*;
use crate::daemon::{ClientError, Connection, ControlClient, Daemon, Paths, SecretText};
use crate::home::Home;
use crate::host::Options;
use crate::journal::record::Event;
use crate::reason::Reason;

struct Served {
    folder: tempfile::TempDir,
    host: Arc<Host>,
    client: ControlClient,
    daemon: tokio::task::JoinHandle<()>,
}

async fn served(config: &str) -> Served {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tollgate.toml"), config).unwrap();
    let home = Home::at(folder.path()).unwrap();
    let host = Host::start(Options::new(home.clone()).unwrap())
        .await
        .unwrap();
    let paths = Paths::within(&home.state());
    let daemon = Daemon::bind(&paths).unwrap();
    let operator = Arc::new(Operator::new(Arc::clone(&host), None));
    let ended = host.draining();
    let daemon = tokio::spawn(daemon.serve(Arc::<Host>::clone(&host), operator, ended));
    let client = Connection::control(&paths, None).await.unwrap();
    Served {
        folder,
        host,
        client,
        daemon,
    }
}

impl Served {
    async fn ask(&mut self, command: Command) -> Result<Value, String> {
        self.client
            .run(command, drop)
            .await
            .map_err(|error| match error {
                ClientError::Refused(error) => error.code,
                error => panic!("{error}"),
            })
    }

    async fn add(&mut self, name: &str) -> Result<Value, String> {
        let name = name.to_owned();
        self.ask(Command::AgentAdd { name, ttl: None }).await
    }

    async fn call(&mut self, agent: &str) -> Result<CallReport, String> {
        let command = Command::Call {
            tool: "none.such".into(),
            arguments: "{}".into(),
            agent: agent.into(),
            task: None,
        };
        Ok(serde_json::from_value(self.ask(command).await?).unwrap())
    }

    /// What was changed, as the journal has it.
    fn changes(&self) -> Vec<String> {
        let filter = crate::journal::Query {
            kind: Some("changed".into()),
            ..Default::default()
        };
        let (records, _) = crate::journal::tail(&self.host.home().journal(), 100, &filter).unwrap();
        let told = records.into_iter().filter_map(|record| match record.event {
            Event::Changed(changed) => Some(format!("{} {}", changed.change, changed.subject?)),
            _ => None,
        });
        told.collect()
    }
}

#[tokio::test]
async fn agents_come_and_go_with_a_record_of_each_change() {
    let mut served = served("").await;
    let added = served.add("claude").await.unwrap();
    let token = added["token"].as_str().unwrap();
    let here = &served.host.config().server.resource.clone();
    let identities = served.host.identities().clone();
    assert!(identities.authenticate(token, here).await.is_ok());
    assert_eq!(served.add("claude").await.unwrap_err(), "agent.exists");
    assert_eq!(served.add("Claude").await.unwrap_err(), "agent.invalid");
    assert_eq!(
        served.add("spiffe://elsewhere/agent/x").await.unwrap_err(),
        "agent.invalid"
    );
    let remove = |name: &str| Command::AgentRemove { name: name.into() };
    served.ask(remove("claude")).await.unwrap();
    assert!(identities.authenticate(token, here).await.is_err());
    assert_eq!(
        served.ask(remove("claude")).await.unwrap_err(),
        "agent.unknown"
    );
    let list: Vec<AgentReport> =
        serde_json::from_value(served.ask(Command::AgentList {}).await.unwrap()).unwrap();
    assert_eq!(list[0].status, "removed");
    // What was refused changed nothing, and nothing says that it did.
    assert_eq!(
        served.changes(),
        ["agent.added claude", "agent.revoked claude"]
    );
}

#[tokio::test]
async fn a_call_is_made_as_an_agent_that_is_in_force() {
    let mut served = served("").await;
    assert_eq!(served.call("").await.unwrap_err(), "agent.unknown");
    assert_eq!(served.call("claude").await.unwrap_err(), "agent.unknown");
    served.add("claude").await.unwrap();
    for agent in ["", "claude"] {
        let report = served.call(agent).await.unwrap();
        assert_eq!(report.refusal.unwrap().reason, Reason::NameUnknown);
    }
    served.add("codex").await.unwrap();
    assert_eq!(served.call("").await.unwrap_err(), "agent.ambiguous");
    served
        .ask(Command::AgentRemove {
            name: "claude".into(),
        })
        .await
        .unwrap();
    assert_eq!(served.call("claude").await.unwrap_err(), "agent.unknown");
    // The one that is left.
    assert!(served.call("").await.is_ok());
}

#[tokio::test]
async fn a_secret_goes_in_and_never_comes_out() {
    let mut served =
        served("[secret.github.app]\nsource = \"env\"\nvariable = \"TOLLGATE_TEST_UNSET\"\n").await;
    let set = |name: &str, value: &str| Command::SecretSet {
        plugin: "github".into(),
        name: name.into(),
        value: SecretText::new(value.into()),
    };
    let answer = served.ask(set("token", "s3cret-value")).await.unwrap();
    assert_eq!(answer, json!({"plugin": "github", "name": "token"}));
    assert_eq!(
        served.ask(set("app", "x")).await.unwrap_err(),
        "secret.elsewhere"
    );
    assert_eq!(
        served.ask(set("a/b", "x")).await.unwrap_err(),
        "secret.invalid"
    );
    assert_eq!(
        served.ask(set("empty", "")).await.unwrap_err(),
        "secret.invalid"
    );
    let listed = served.ask(Command::SecretList {}).await.unwrap();
    assert_eq!(
        listed,
        json!([
            {"plugin": "github", "name": "app", "place": "env:TOLLGATE_TEST_UNSET", "status": "missing"},
            {"plugin": "github", "name": "token", "place": "store", "status": "set"},
        ])
    );
    let remove = || Command::SecretRemove {
        plugin: "github".into(),
        name: "token".into(),
    };
    served.ask(remove()).await.unwrap();
    assert_eq!(served.ask(remove()).await.unwrap_err(), "secret.unknown");
    assert_eq!(
        served.changes(),
        ["secret.set github/token", "secret.removed github/token"]
    );
    for entry in std::fs::read_dir(served.host.home().journal()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("s3cret-value"));
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_written_down_is_not_made() {
    let mut served = served("").await;
    served.host.journal().clone().close().await.unwrap();
    assert_eq!(
        served.add("claude").await.unwrap_err(),
        "journal.unavailable"
    );
    assert!(served.host.identities().list().is_empty());
}

#[tokio::test]
async fn stopping_is_answered_and_ends_the_daemon() {
    let mut served = served("").await;
    let status: StatusReport =
        serde_json::from_value(served.ask(Command::Status {}).await.unwrap()).unwrap();
    assert_eq!(
        (status.plugins, status.agents, status.draining),
        (0, 0, false)
    );
    served.ask(Command::Stop {}).await.unwrap();
    assert!(served.host.is_draining());
    drop(served.client);
    served.daemon.await.unwrap();
    drop(served.folder);
}

fn secret(text: &str) -> Option<SecretText> {
    Some(SecretText::new(text.to_owned()))
}

fn person(name: &str, credential: Option<SecretText>) -> Command {
    Command::PersonAdd {
        name: name.into(),
        admin: false,
        ttl: None,
        credential,
    }
}

fn token(answer: &Value) -> String {
    answer["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn after_the_first_only_an_administrator_changes_who_there_is() {
    let mut served = served("").await;
    let first = served.ask(person("ada", None)).await.unwrap();
    assert_eq!(first["admin"], true, "somebody must be able to add others");
    let ada = token(&first);
    let refused = |code: &str| Err(code.to_owned());
    assert_eq!(
        served.ask(person("eve", None)).await,
        refused("person.credential")
    );
    assert_eq!(
        served.ask(person("eve", secret("tgp_x"))).await,
        refused("identity.unknown")
    );
    let second = served.ask(person("bob", secret(&ada))).await.unwrap();
    assert_eq!(second["admin"], false);
    let bob = token(&second);
    assert_eq!(
        served.ask(person("eve", secret(&bob))).await,
        refused("person.forbidden")
    );
    assert_eq!(
        served.ask(person("bob", secret(&ada))).await,
        refused("person.exists")
    );
    // What is not done has no record that says it was.
    let too_long = Command::PersonAdd {
        name: "eve".into(),
        admin: false,
        ttl: Some(367 * 86_400),
        credential: secret(&ada),
    };
    assert_eq!(served.ask(too_long).await, refused("person.invalid"));
    assert_eq!(
        served.changes(),
        ["person.added ada", "person.added bob"],
        "and of a refused change neither"
    );
    // Everyone may renew their own, and nobody else's.
    let rotate = |name: &str, credential: &str| Command::PersonRotate {
        name: name.into(),
        ttl: Some(60),
        credential: secret(credential),
    };
    assert_eq!(
        served.ask(rotate("ada", &bob)).await,
        refused("person.forbidden")
    );
    let renewed = token(&served.ask(rotate("bob", &bob)).await.unwrap());
    assert_eq!(
        served.ask(rotate("bob", &bob)).await,
        refused("identity.unknown")
    );
    assert!(served.ask(rotate("bob", &renewed)).await.is_ok());
    let remove = Command::PersonRemove {
        name: "bob".into(),
        credential: secret(&ada),
    };
    served.ask(remove.clone()).await.unwrap();
    assert_eq!(served.ask(remove).await, refused("person.unknown"));
    let list = served.ask(Command::PersonList {}).await.unwrap();
    let list: Vec<PersonReport> = serde_json::from_value(list).unwrap();
    let told: Vec<_> = list
        .iter()
        .map(|p| (p.name.as_str(), p.status.as_str()))
        .collect();
    assert_eq!(told, [("ada", "active"), ("bob", "removed")]);
}

#[tokio::test]
async fn an_agents_token_changes_nobody_and_is_written_down() {
    let mut served = served("").await;
    let agent = token(&served.add("claude").await.unwrap());
    served.ask(person("ada", None)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            served.ask(person("claude", secret(&agent))).await,
            Err("identity.kind".to_owned())
        );
    }
    let filter = crate::journal::Query {
        kind: Some("changed".into()),
        ..Default::default()
    };
    let folder = served.host.home().journal();
    let (records, _) = crate::journal::tail(&folder, 100, &filter).unwrap();
    let refused: Vec<_> = records
        .into_iter()
        .filter_map(|record| match record.event {
            Event::Changed(changed) if changed.change == "identity.refused" => Some(changed),
            _ => None,
        })
        .collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].reason, Some(Reason::IdentityKind));
    assert_eq!(
        refused[0].subject.as_deref(),
        Some("spiffe://tollgate.local/agent/claude")
    );
}
