//! Plugins come, change and go while the host runs, and one that can't serve harms no other.

use serde_json::json;
use tollgate::digest::Digest;
use tollgate::host::PluginStatus;
use tollgate::journal::record::Event;
use tollgate::reason::Reason;

use crate::harness::{Bench, Look as _, PROBE_POLICY, Setup, change, misfit};

/// A plugin `guest` of its own beside the probe.
fn with_guest() -> Setup {
    Setup::probe()
        .bytes("guest", misfit("plain"))
        .policy("guest", "permit (principal in Group::\"everyone\", action in Action::\"call\", resource in Plugin::\"guest\");")
}

#[tokio::test]
async fn a_plugin_that_is_dropped_serves_once_policy_allows_and_is_gone_when_deleted() {
    let bench = Setup::probe().start().await;
    assert_eq!(
        bench.call("guest_act", json!({})).await.reason(),
        Some(Reason::NameUnknown)
    );
    let mut changes = bench.host.changes();
    changes.mark_unchanged();
    let about = bench.drop_plugin("guest", &misfit("plain")).await;
    assert!(changes.has_changed().unwrap(), "agents are told");
    let pinned = change(&about, "plugin.pinned");
    assert_eq!(pinned.digest, Some(Digest::of(&misfit("plain"))));
    // There, and closed until somebody writes a policy for it.
    assert_eq!(
        bench.call("guest_act", json!({})).await.reason(),
        Some(Reason::PolicyDefault)
    );
    std::fs::write(
        bench.policy_file("guest"),
        "permit (principal, action in Action::\"call\", resource in Plugin::\"guest\");",
    )
    .unwrap();
    bench.refresh().await;
    assert_eq!(bench.call("guest_act", json!({})).await.text(), "acted");

    std::fs::remove_file(bench.plugin_file("guest")).unwrap();
    let before = bench.records().len();
    bench.refresh().await;
    assert!(
        bench
            .changes_since(before)
            .iter()
            .any(|change| change.change == "plugin.removed")
    );
    assert_eq!(
        bench.call("guest_act", json!({})).await.reason(),
        Some(Reason::NameUnknown)
    );
    assert_eq!(bench.echo().await, None);
    bench.verify();
}

#[tokio::test]
async fn a_plugin_that_was_replaced_waits_and_the_accepted_one_goes_on() {
    let bench = with_guest().start().await;
    let (old, new) = (misfit("plain"), misfit("chatty"));
    let reply = bench.call("guest_act", json!({})).await;
    assert_eq!(bench.ran(reply.call), Some(Digest::of(&old)));
    let about = bench.drop_plugin("guest", &new).await;
    let quarantined = change(&about, "plugin.quarantined");
    assert_eq!(quarantined.reason, Some(Reason::PinDigestMismatch));
    assert_eq!(quarantined.digest, Some(Digest::of(&new)));
    assert!(
        quarantined
            .detail
            .as_ref()
            .unwrap()
            .contains("tollgate plugins accept guest"),
        "{quarantined:?}"
    );
    let reply = bench.call("guest_act", json!({})).await;
    assert_eq!(
        bench.ran(reply.call),
        Some(Digest::of(&old)),
        "what was accepted"
    );
    // What can't even be loaded changes nothing about that either: the old one is not put back by a broken one.
    bench.drop_plugin("guest", &old).await;
    let reply = bench.call("guest_act", json!({})).await;
    assert_eq!(bench.ran(reply.call), Some(Digest::of(&old)));
    bench.verify();
}

#[tokio::test]
async fn a_call_under_way_keeps_the_plugin_that_it_began_with() {
    let bench = Setup::probe().start().await;
    let send =
        json!({"requirement": "api", "method": "GET", "url": "https://granted.example/hold"});
    let running = bench.spawn("alice", "probe_send", send);
    bench.upstream.arrived(1).await;
    std::fs::remove_file(bench.plugin_file("probe")).unwrap();
    bench.refresh().await;
    assert_eq!(bench.echo().await, Some(Reason::NameUnknown));
    bench.upstream.release();
    let reply = running.reply().await;
    assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    assert_eq!(bench.outcome(reply.call).status, "ok");
}

#[tokio::test]
pub(crate) async fn compiled_code_that_was_changed_is_compiled_again() {
    let _row = crate::attacks::stands_for("R19");
    let setup = with_guest();
    let digest = Digest::of(&misfit("plain"));
    let probe = Digest::of(&std::fs::read(guests::PROBE).unwrap());
    for (what, change) in [
        (
            "a byte of the code",
            (|code: &mut Vec<u8>, _: &[u8]| code[1_000] ^= 1) as fn(&mut Vec<u8>, &[u8]),
        ),
        ("a byte of the MAC", |code, _| {
            *code.last_mut().unwrap() ^= 1
        }),
        ("cut", |code, _| code.truncate(code.len() / 2)),
        ("empty", |code, _| code.clear()),
        ("longer", |code, _| code.push(0)),
        ("another's", |code, other| *code = other.to_vec()),
    ] {
        let (folder, home) = setup.make().await;
        let find = |wanted: &Digest| {
            std::fs::read_dir(home.artifacts())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .find(|path| {
                    path.file_name()
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .starts_with(&wanted.hex())
                })
                .expect("an artifact")
        };
        let path = find(&digest);
        let other = std::fs::read(find(&probe)).unwrap();
        let good = std::fs::read(&path).unwrap();
        let mut code = good.clone();
        change(&mut code, &other);
        std::fs::write(&path, &code).unwrap();
        let bench = Bench::start_in(folder, home).await;
        assert_eq!(
            bench.call("guest_act", json!({})).await.text(),
            "acted",
            "{what}"
        );
        let now = std::fs::read(&path).unwrap();
        assert_ne!(now, code, "{what}: it was written anew");
        assert_eq!(now.len(), good.len(), "{what}");
    }
}

#[tokio::test]
async fn a_component_is_asked_once_what_it_is() {
    // It would say something else each time, and that would be a change to be accepted.
    let bench = Setup::probe()
        .bytes("guest", misfit("fickle"))
        .start()
        .await;
    let status = |bench: &Bench| {
        let plugins = bench.host.plugins();
        let guest = plugins.iter().find(|plugin| plugin.file == "guest.wasm");
        guest.unwrap().status
    };
    assert_eq!(status(&bench), PluginStatus::Serving);
    let bench = bench.restart().await;
    assert_eq!(status(&bench), PluginStatus::Serving);
    // What is not what the host kept is not believed: the component is asked again.
    let digest = Digest::of(&misfit("fickle")).hex();
    let kept = std::fs::read_dir(bench.host.home().artifacts())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(&digest) && name.ends_with(".description")
        })
        .expect("a description is kept");
    let mut text = std::fs::read(&kept).unwrap();
    text[20] ^= 1;
    std::fs::write(&kept, &text).unwrap();
    let bench = bench.restart().await;
    assert_eq!(status(&bench), PluginStatus::Quarantined);
    bench.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_misfit_is_refused_by_its_file_and_its_cause() {
    let bench = Setup::probe().start().await;
    // A loop of references ends where the arguments do, and a pattern costs what its text does.
    let serves = ["plain", "chatty", "fickle", "schema-regex", "schema-loop"];
    let mut wrong = Vec::new();
    for (kind, _) in guests::MISFITS {
        let about = bench.drop_plugin("guest", &misfit(kind)).await;
        let refused = about
            .iter()
            .find(|change| change.change == "plugin.refused");
        let expected = match *kind {
            kind if serves.contains(&kind) => None,
            "twice" => Some(Reason::NameCollision),
            "bad-tool-name" | "long-tool-name" => Some(Reason::NameInvalid),
            kind if kind.starts_with("poisoned") => Some(Reason::ComponentText),
            "huge-description" => Some(Reason::ComponentDescribe),
            kind if kind.starts_with("schema") => Some(Reason::ComponentSchema),
            "unused-http" | "unused-clock" | "uses-undeclared" => Some(Reason::ComponentLies),
            _ => Some(Reason::ComponentDescribe),
        };
        match (expected, refused) {
            (None, None) => {}
            (Some(reason), Some(change)) if change.reason == Some(reason) => {
                let says = change.detail.clone().unwrap_or_default();
                if change.subject.as_deref() != Some("guest.wasm") || says.len() < 10 {
                    wrong.push(format!("{kind}: {change:?}"));
                }
            }
            _ => wrong.push(format!("{kind}: expected {expected:?}, found {about:?}")),
        }
        // Everything else keeps serving.
        assert_eq!(bench.echo().await, None, "{kind}");
        std::fs::remove_file(bench.plugin_file("guest")).unwrap();
        bench.refresh().await;
        // As if it had never been here.
        let _ = bench.host.state().remove_pin(&"guest".parse().unwrap());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let liar = bench
        .drop_plugin("liar", &std::fs::read(guests::LIAR).unwrap())
        .await;
    let change = change(&liar, "plugin.refused");
    assert_eq!(change.reason, Some(Reason::ComponentLies));
    assert!(
        change.detail.as_ref().unwrap().contains("http"),
        "it names the import: {change:?}"
    );
    bench.verify();
}

#[tokio::test]
async fn a_tool_that_takes_anothers_name_is_refused_by_name() {
    // The probe has a tool `refused_storm`; a plugin `probe_refused` with a tool `storm` would be called the same.
    let bench = Setup::probe()
        .toml("[plugin.probe_refused.settings]\norigin = \"https://granted.example\"")
        .start()
        .await;
    let about = bench
        .drop_plugin("probe_refused", &std::fs::read(guests::PROBE).unwrap())
        .await;
    let change = change(&about, "plugin.refused");
    assert_eq!(change.reason, Some(Reason::NameCollision));
    let says = change.detail.as_ref().unwrap();
    assert!(
        says.contains("probe_refused_storm") && says.contains("probe.refused_storm"),
        "{says}"
    );
    let reply = bench.call("probe_refused_storm", json!({"n": 1})).await;
    assert_eq!(reply.reason(), None, "the one that was there first goes on");
}

#[tokio::test]
async fn a_name_that_can_not_be_is_refused_with_its_file() {
    let bench = Setup::probe().start().await;
    for name in ["Guest", "gu est", "shared", "größe", "-guest"] {
        let about = bench.drop_plugin(name, &misfit("plain")).await;
        let change = change(&about, "plugin.refused");
        assert_eq!(change.reason, Some(Reason::NameInvalid), "{name}");
        assert_eq!(change.subject, Some(format!("{name}.wasm")));
    }
    // A file that someone is still writing is not looked at.
    let before = bench.records().len();
    std::fs::write(bench.host.home().plugins().join(".guest.wasm"), b"half").unwrap();
    bench.refresh().await;
    assert!(
        bench
            .changes_since(before)
            .iter()
            .all(|change| !change.change.starts_with("plugin"))
    );
}

#[tokio::test]
async fn a_setting_that_changes_waits_like_code_that_changes() {
    let bench = Setup::probe().start().await;
    let config = bench.host.home().config();
    let text = std::fs::read_to_string(&config).unwrap();
    let before = bench.records().len();
    std::fs::write(
        &config,
        text.replace("granted.example", "elsewhere.example"),
    )
    .unwrap();
    bench.refresh().await;
    let about = bench.changes_since(before);
    let change = change(&about, "plugin.quarantined");
    assert!(
        change.detail.as_ref().unwrap().contains("settings"),
        "{change:?}"
    );
    let reply = bench
        .call("probe_settings_get", json!({"name": "origin"}))
        .await;
    assert_eq!(
        *reply.at("/value"),
        "https://granted.example",
        "what was accepted goes on"
    );
}

/// The probe and a plugin `other` of the same code, with these prefixes; none where the name is enough.
fn prefixes(probe: Option<&str>, other: Option<&str>) -> String {
    let table = |plugin: &str, prefix: Option<&str>| {
        let prefix = prefix.map_or_else(String::new, |text| format!("prefix = \"{text}\"\n"));
        format!(
            "[plugin.{plugin}]\n{prefix}[plugin.{plugin}.settings]\norigin = \"https://granted.example\"\n"
        )
    };
    format!("{}{}", table("probe", probe), table("other", other))
}

fn prefixed(probe: Option<&str>, other: Option<&str>) -> Setup {
    Setup::empty()
        .component("probe", guests::PROBE)
        .policy("probe", PROBE_POLICY)
        .toml(&prefixes(probe, other))
}

#[tokio::test]
async fn the_operator_says_by_which_names_agents_see_a_plugin() {
    let bench = prefixed(None, None).start().await;
    let config = bench.host.home().config();
    let kept = std::fs::read_to_string(&config).unwrap();
    let set = async |probe, other| {
        let text = kept.replace(&prefixes(None, None), &prefixes(probe, other));
        assert_ne!(text, kept);
        std::fs::write(&config, text).unwrap();
        bench.refresh().await;
    };
    let echoes = || -> Vec<String> {
        let mut names = crate::tasks::tools(&bench, "alice", None);
        assert!(names.is_sorted(), "{names:?}");
        names.retain(|name| name.ends_with("echo"));
        names
    };
    assert_eq!(echoes(), ["probe_echo"]);

    for (prefix, name) in [("", "echo"), ("Pr-1", "Pr-1_echo")] {
        set(Some(prefix), None).await;
        assert_eq!(echoes(), [name]);
        let reply = bench.call(name, json!({"text": "x"})).await;
        assert_eq!(reply.reason(), None, "{}", reply.text());
        // Policy and record know it by its own name, by which it may be called as well.
        let full = bench.call("probe.echo", json!({"text": "x"})).await;
        for call in [reply.call, full.call] {
            let events = bench.records_of(call);
            let intent = events.iter().find_map(|event| match event {
                Event::Intent(intent) => Some(intent.tool.to_string()),
                _ => None,
            });
            assert_eq!(intent.as_deref(), Some("probe.echo"), "{events:?}");
        }
        // What it was called before is nobody's.
        let gone = bench.call("probe_echo", json!({"text": "x"})).await;
        bench.assert_refused(&gone, Reason::NameUnknown);
    }

    // A second plugin that would take the same names is refused, and both are named.
    set(Some(""), Some("")).await;
    let other = std::fs::read(guests::PROBE).unwrap();
    let about = bench.drop_plugin("other", &other).await;
    let refused = change(&about, "plugin.refused");
    assert_eq!(refused.reason, Some(Reason::NameCollision));
    let says = refused.detail.as_ref().unwrap();
    assert!(
        says.contains("`other.") && says.contains("`probe."),
        "{says}"
    );
    assert_eq!(echoes(), ["echo"], "the one that was there first goes on");

    // Names that change places within one change of the configuration are no collision.
    for (probe, other) in [("one", "two"), ("two", "one")] {
        set(Some(probe), Some(other)).await;
        let reports = bench.host.plugins();
        assert_eq!(reports.len(), 2);
        for (report, prefix) in reports.iter().zip([other, probe]) {
            assert_eq!(report.status, PluginStatus::Serving, "{report:?}");
            assert!(
                report.tools.contains(&format!("{prefix}_echo")),
                "{report:?}"
            );
        }
        assert_eq!(
            echoes(),
            [format!("{probe}_echo")],
            "alice's policy is for the probe"
        );
    }
    bench.verify();
}

#[tokio::test]
async fn a_name_that_was_taken_is_free_once_its_owner_is_gone() {
    let bench = prefixed(Some(""), Some("")).start().await;
    let other = std::fs::read(guests::PROBE).unwrap();
    let about = bench.drop_plugin("other", &other).await;
    let refused = change(&about, "plugin.refused");
    assert_eq!(refused.reason, Some(Reason::NameCollision));
    std::fs::remove_file(bench.plugin_file("probe")).unwrap();
    bench.refresh().await;
    let reports = bench.host.plugins();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].status, PluginStatus::Serving, "{reports:?}");
    assert!(reports[0].tools.contains(&String::from("echo")));
}
