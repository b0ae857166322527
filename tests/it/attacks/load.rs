//! A case that is a component: dropped into `plugins/`, alone or in the place of an accepted one.

use anyhow::{Context as _, Result, ensure};
use tollgate::digest::Digest;
use tollgate::host::PluginDiff;
use tollgate::journal::record::Changed;
use tollgate::name::PluginName;
use tollgate::plugin::signature::{Signer, Statement};
use tollgate::reason::Reason;

use super::case::{Before, Case, Dropped, Signature};
use crate::harness::{Bench, Look as _, place};

/// The keys that cases speak of. `{acme}` in a configuration stands for the one that verifies.
const KEYS: [(&str, u8); 3] = [("acme", 1), ("retired", 2), ("stranger", 3)];

fn signer(name: &str) -> Signer {
    let (name, seed) = KEYS
        .into_iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("no key `{name}`"));
    Signer::new(name, &[seed; 32]).unwrap()
}

/// A configuration with the keys put in.
pub(super) fn with_keys(toml: &str) -> String {
    KEYS.iter().fold(toml.to_owned(), |toml, (name, _)| {
        toml.replace(&format!("{{{name}}}"), &signer(name).key().to_string())
    })
}

pub(super) fn requires_signatures(toml: &str) -> bool {
    toml.contains("require_signature = true")
}

pub(super) fn signature_of_probe() -> String {
    let probe = std::fs::read(guests::PROBE).unwrap();
    statement("probe", Digest::of(&probe), 1).sign(&signer("acme"))
}

fn statement(plugin: &str, component: Digest, version: u64) -> Statement {
    Statement {
        plugin: plugin.parse().unwrap(),
        component,
        version,
    }
}

impl Signature {
    /// The file that goes beside `bytes`, dropped as `plugin`.
    fn text(&self, plugin: &str, bytes: &[u8]) -> String {
        if let Some(text) = &self.text {
            return text.clone();
        }
        let component = self.component.as_ref().map_or(bytes, |of| of.as_bytes());
        let plugin = self.plugin.as_deref().unwrap_or(plugin);
        statement(plugin, Digest::of(component), self.version).sign(&signer(&self.by))
    }
}

/// Puts a component into `plugins/`, with its signature, and takes it in; gives what was written.
async fn put(bench: &Bench, plugin: &str, dropped: &Dropped) -> Result<(Digest, Vec<Changed>)> {
    let path = bench.plugin_file(plugin);
    let beside = path.with_file_name(format!("{plugin}.wasm.sig"));
    let before = bench.records().len();
    let bytes = match dropped.load.strip_prefix("size:") {
        Some(size) => {
            // As a file with a hole: nothing has to be written.
            let hidden = path.with_file_name(".sparse");
            let file = std::fs::File::create(&hidden)?;
            std::io::Write::write_all(&mut &file, b"\0asm\x0d\0\x01\0")?;
            file.set_len(size.parse()?)?;
            std::fs::rename(&hidden, &path)?;
            Vec::new()
        }
        None => dropped.bytes()?,
    };
    match &dropped.signed {
        Some(signature) => std::fs::write(&beside, signature.text(plugin, &bytes))?,
        None if beside.exists() => std::fs::remove_file(&beside)?,
        None => {}
    }
    if !bytes.is_empty() {
        place(&path, &bytes);
    }
    bench.refresh().await;
    Ok((Digest::of(&bytes), bench.changes_since(before)))
}

/// Drops a component and looks at what was written about it.
pub(super) async fn load(bench: &Bench, agent: &str, what: &str, case: &Case) -> Result<()> {
    let plugin = case.plugin.as_deref().unwrap_or(agent);
    for (other, dropped) in &case.beside {
        serves(&put(bench, other, dropped).await?.1)?;
    }
    let mut accepted = None;
    if let Some(dropped) = &case.accepted {
        let (digest, changes) = put(bench, plugin, dropped).await?;
        serves(&changes)?;
        permit(bench, plugin).await?;
        accepted = Some(digest);
    }
    let dropped = Dropped {
        load: what.to_owned(),
        patch: case.patch.clone(),
        signed: case.signed.clone(),
    };
    let (digest, changes) = put(bench, plugin, &dropped).await?;
    if let Some(code) = &case.expect.reason {
        told(plugin, code, digest, &changes, case)?;
    }
    if case.expect.serves {
        serves(&changes)?;
    }
    if let Some(then) = &case.then {
        permit(bench, plugin).await?;
        call(bench, agent, plugin, then, accepted).await?;
    }
    if case.expect.waits {
        // Reach is told of agents that there are.
        let _ = bench.host.identities().issue(agent, None);
        waits(bench, plugin, digest, case).await?;
    }
    // Whatever it was, the others serve.
    let reply = bench
        .call_as(agent, "probe_echo", r#"{"text":"alive"}"#)
        .await;
    ensure!(
        reply.reason().is_none(),
        "the probe does not serve any more: {:?}",
        reply.refusal
    );
    clear(bench, plugin, case).await
}

fn serves(changes: &[Changed]) -> Result<()> {
    ensure!(
        changes
            .iter()
            .any(|change| change.change == "plugin.pinned"),
        "it does not serve: {changes:?}"
    );
    Ok(())
}

/// Exactly one record says why, and of which file.
fn told(plugin: &str, code: &str, digest: Digest, changes: &[Changed], case: &Case) -> Result<()> {
    let about: Vec<_> = changes
        .iter()
        .filter(|change| change.reason.is_some())
        .collect();
    ensure!(about.len() == 1, "records: {changes:?}");
    let change = about[0];
    let file = format!("{plugin}.wasm");
    let (expected, subject) = match case.expect.waits {
        true => ("plugin.quarantined", plugin),
        false => ("plugin.refused", file.as_str()),
    };
    ensure!(change.change == expected, "{change:?}");
    ensure!(change.subject.as_deref() == Some(subject), "{change:?}");
    ensure!(
        change.reason.is_some_and(|reason| reason.code() == code),
        "{change:?}"
    );
    if case.expect.waits {
        ensure!(change.digest == Some(digest), "{change:?}");
        ensure!(
            change.diff.is_some(),
            "no digest of what changed: {change:?}"
        );
    }
    for part in &case.expect.says {
        ensure!(
            change
                .detail
                .as_ref()
                .is_some_and(|detail| detail.contains(part.as_str())),
            "it does not say `{part}`: {change:?}"
        );
    }
    Ok(())
}

async fn permit(bench: &Bench, plugin: &str) -> Result<()> {
    let policy = format!("permit (principal, action, resource in Plugin::\"{plugin}\");");
    std::fs::write(bench.policy_file(plugin), policy)?;
    bench.refresh().await;
    Ok(())
}

/// A call of it: where something else was accepted before, that is what runs.
async fn call(
    bench: &Bench,
    agent: &str,
    plugin: &str,
    then: &Before,
    accepted: Option<Digest>,
) -> Result<()> {
    let tool = then.tool.replace("{}", plugin);
    let reply = bench
        .call_as(agent, &tool, then.arguments.to_string())
        .await;
    let ended = reply.reason().map(Reason::code);
    ensure!(
        ended == then.reason.as_deref(),
        "it ended as {ended:?}: {:?}",
        reply.refusal
    );
    if let Some(accepted) = accepted {
        let ran = bench.ran(reply.call);
        ensure!(
            ran == Some(accepted),
            "what ran is {ran:?}, not the one that was accepted"
        );
    }
    Ok(())
}

/// What waits is shown with each change and with what it could reach, and only what was shown is accepted.
async fn waits(bench: &Bench, plugin: &str, digest: Digest, case: &Case) -> Result<()> {
    let name: PluginName = plugin.parse()?;
    let shown = bench.host.plugin_diff(&name).map_err(anyhow::Error::msg)?;
    ensure!(
        shown.diff.found.component == digest,
        "another component is shown"
    );
    changes_of(&shown, case)?;
    let wrong = Some(Digest::of(b"another"));
    for (diff, component) in [(wrong, None), (None, wrong)] {
        ensure!(
            bench.host.accept(&name, diff, component).await.is_err(),
            "what was not shown was accepted"
        );
    }
    if shown.reason == Some(Reason::PinRollback) {
        ensure!(
            bench
                .host
                .accept(&name, Some(shown.digest), None)
                .await
                .is_err(),
            "an older one was accepted without its digest"
        );
    }
    let before = bench.records().len();
    let accepted = bench
        .host
        .accept(&name, Some(shown.digest), Some(digest))
        .await
        .map_err(anyhow::Error::msg)?;
    ensure!(accepted == (digest, shown.digest), "{accepted:?}");
    let written: Vec<_> = bench
        .changes_since(before)
        .into_iter()
        .filter(|change| change.change == "plugin.accepted")
        .collect();
    ensure!(
        matches!(written.as_slice(), [one] if one.digest == Some(digest) && one.diff == Some(shown.digest)),
        "{written:?}"
    );
    Ok(())
}

fn changes_of(shown: &PluginDiff, case: &Case) -> Result<()> {
    let changes: Vec<String> = shown
        .diff
        .changes
        .iter()
        .map(|change| {
            let what = serde_json::to_value(change.what).unwrap_or_default();
            let what = what.as_str().unwrap_or_default();
            format!("{what} {} {}", change.name, change.part)
                .trim_end()
                .to_owned()
        })
        .collect();
    for expected in &case.expect.changes {
        ensure!(
            changes.iter().any(|change| change == expected),
            "`{expected}` is not shown, but {changes:?}"
        );
    }
    for expected in &case.expect.reach {
        let is_new = shown.reach.iter().any(|reach| {
            let before = reach.before.as_ref().is_some_and(|b| b.contains(expected));
            let after = reach.after.as_ref().is_some_and(|a| a.contains(expected));
            after && !before
        });
        ensure!(
            is_new,
            "`{expected}` is not shown as new: {:?}",
            shown.reach
        );
    }
    Ok(())
}

/// As if nothing of it had ever been here.
async fn clear(bench: &Bench, plugin: &str, case: &Case) -> Result<()> {
    for name in case.beside.keys().map(String::as_str).chain([plugin]) {
        for file in [
            bench.plugin_file(name),
            bench.plugin_file(name).with_extension("wasm.sig"),
            bench.policy_file(name),
        ] {
            if file.exists() {
                std::fs::remove_file(&file)
                    .with_context(|| format!("remove `{}`", file.display()))?;
            }
        }
        if let Ok(name) = name.parse() {
            // There is none where it never served.
            let _ = bench.host.state().remove_pin(&name);
        }
    }
    bench.refresh().await;
    Ok(())
}
