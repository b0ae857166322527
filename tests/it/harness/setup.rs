//! A home for a test: its plugins, policies, configuration, agents and secrets.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tollgate::entropy::SystemEntropy;
use tollgate::home::Home;
use tollgate::secret::SecretValue;

use super::{Bench, artifacts, repository};

/// Everything that the probe asks for is permitted to everyone who is in the group.
pub(crate) const PROBE_POLICY: &str = r#"
@id("probe.calls")
permit (principal in Group::"everyone", action in Action::"call", resource in Plugin::"probe");
@id("probe.http")
permit (principal in Group::"everyone", action in Action::"http", resource in Plugin::"probe");
@id("probe.secrets")
permit (principal in Group::"everyone", action in Action::"use-secret", resource in Plugin::"probe");
@id("probe.clock")
permit (principal in Group::"everyone", action in Action::"clock", resource in Plugin::"probe");
@id("probe.random")
permit (principal in Group::"everyone", action in Action::"random", resource in Plugin::"probe");
"#;

/// The same, and the secret `seen` may be read.
pub(crate) const REVEAL: &str = r#"
@id("probe.reveal")
permit (principal in Group::"everyone", action in Action::"reveal-secret", resource == Secret::"seen");
"#;

/// What the probe needs to serve.
pub(crate) const PROBE_TOML: &str =
    "[plugin.probe.settings]\norigin = \"https://granted.example\"\n";

/// The probe may connect to this machine.
const HERE: &str = r#"
@id("probe.here")
permit (principal in Group::"everyone", action in Action::"connect", resource in Plugin::"probe")
when { context.address == ip("127.0.0.1") };
"#;

/// `policies/entities.json` with these agents in the group `everyone`, and two people who may approve.
pub(crate) fn entities<S: AsRef<str>>(agents: &[S]) -> String {
    let mut all = vec![
        serde_json::json!({"uid": {"type": "Group", "id": "everyone"}, "attrs": {}, "parents": []}),
        serde_json::json!({"uid": {"type": "Group", "id": "approvers"}, "attrs": {}, "parents": []}),
    ];
    all.extend(["ada", "bob"].map(|person| {
        serde_json::json!({
            "uid": {"type": "User", "id": person},
            "attrs": {},
            "parents": [{"type": "Group", "id": "approvers"}],
        })
    }));
    all.extend(agents.iter().map(|name| {
        serde_json::json!({
            "uid": {"type": "Agent", "id": format!("spiffe://tollgate.local/agent/{}", name.as_ref())},
            "attrs": {},
            "parents": [{"type": "Group", "id": "everyone"}],
        })
    }));
    serde_json::to_string_pretty(&all).unwrap()
}

/// Puts `bytes` at `path` as one step, as whoever drops a plugin should.
pub(crate) fn place(path: &Path, bytes: &[u8]) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let temporary = path.with_file_name(format!(".{name}.new"));
    fs::write(&temporary, bytes).unwrap();
    fs::rename(&temporary, path).unwrap();
}

/// A home to be made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// Name in `plugins/` and the component's bytes.
    plugins: Vec<(String, Vec<u8>)>,
    policies: Vec<(String, String)>,
    toml: String,
    agents: Vec<String>,
    secrets: Vec<(String, String, String)>,
}

impl Setup {
    /// Nothing at all, but the agents `alice` and `bob`.
    pub(crate) fn empty() -> Self {
        Self {
            agents: vec!["alice".into(), "bob".into()],
            ..Self::default()
        }
    }

    /// The probe, with everything permitted but reading secrets.
    pub(crate) fn probe() -> Self {
        Self::empty()
            .component("probe", guests::PROBE)
            .policy("probe", PROBE_POLICY)
            .toml(PROBE_TOML)
    }

    /// The probe with a policy of the test's own.
    pub(crate) fn probe_under(policy: &str) -> Self {
        Self::empty()
            .component("probe", guests::PROBE)
            .policy("probe", policy)
            .toml(PROBE_TOML)
    }

    /// The probe with a policy of the test's own, and with its origin on this machine, in the clear.
    pub(crate) fn probe_at(origin: &str, policy: &str) -> Self {
        Self::empty()
            .component("probe", guests::PROBE)
            .policy("probe", &format!("{policy}{HERE}"))
            .toml(&format!("[plugin.probe.settings]\norigin = \"{origin}\""))
    }

    /// A component that was built from source.
    pub(crate) fn component(self, name: &str, path: &str) -> Self {
        let bytes = fs::read(path).unwrap();
        self.bytes(name, bytes)
    }

    /// A component, or what pretends to be one.
    pub(crate) fn bytes(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.plugins.push((format!("{name}.wasm"), bytes));
        self
    }

    /// The signature of a component.
    pub(crate) fn signature(mut self, name: &str, text: &str) -> Self {
        self.plugins
            .push((format!("{name}.wasm.sig"), text.as_bytes().to_vec()));
        self
    }

    /// `policies/<name>.cedar`, in the place of one of that name.
    pub(crate) fn policy(mut self, name: &str, text: &str) -> Self {
        let file = format!("{name}.cedar");
        self.policies.retain(|(other, _)| *other != file);
        self.policies.push((file, text.to_owned()));
        self
    }

    /// A shipped plugin, with the policy that is shipped with it.
    pub(crate) fn shipped(self, name: &str) -> Self {
        let (_, path) = guests::PLUGINS
            .iter()
            .find(|(shipped, _)| *shipped == name)
            .unwrap();
        let policy =
            fs::read_to_string(repository().join(format!("policies/{name}.cedar"))).unwrap();
        self.component(name, path).policy(name, &policy)
    }

    /// The shared rules that are shipped.
    pub(crate) fn shared_rules(self) -> Self {
        let text = fs::read_to_string(repository().join("policies/shared.cedar")).unwrap();
        self.policy("shared", &text)
    }

    /// More of `tollgate.toml`.
    pub(crate) fn toml(mut self, text: &str) -> Self {
        self.toml.push_str(text);
        self.toml.push('\n');
        self
    }

    /// More agents in the group `everyone`.
    pub(crate) fn agents(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.agents.extend(names);
        self
    }

    /// A secret in the host's own store.
    pub(crate) fn secret(mut self, plugin: &str, name: &str, value: &str) -> Self {
        self.secrets
            .push((plugin.into(), name.into(), value.into()));
        self
    }

    /// Makes the home, without starting anything.
    pub(crate) async fn make(&self) -> (TempDir, Home) {
        let folder = tempfile::Builder::new().prefix("tg").tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        home.create().unwrap();
        for (file, bytes) in &self.plugins {
            place(&home.plugins().join(file), bytes);
        }
        for (file, text) in &self.policies {
            fs::write(home.policies().join(file), text).unwrap();
        }
        fs::write(
            home.policies().join("entities.json"),
            entities(&self.agents),
        )
        .unwrap();
        fs::write(
            home.root().join("ca.pem"),
            crate::upstream::tls::authority_pem(),
        )
        .unwrap();
        let toml = format!("{}\n[egress]\nextra_ca = [\"ca.pem\"]\n", self.toml);
        fs::write(home.config(), toml).unwrap();
        artifacts::seed(&home, &self.plugins).await;
        for (plugin, name, value) in &self.secrets {
            tollgate::secret::Store::new(&home, Arc::new(SystemEntropy))
                .set(
                    &plugin.parse().unwrap(),
                    name,
                    &SecretValue::new(value.as_bytes().to_vec()),
                )
                .unwrap();
        }
        (folder, home)
    }

    /// Makes the home and starts a host in it, with a fixture upstream.
    pub(crate) async fn start(&self) -> Bench {
        let (folder, home) = self.make().await;
        Bench::start_in(folder, home).await
    }
}
