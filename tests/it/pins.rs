//! What was accepted is what runs: changes wait, are shown whole, and are accepted as they were shown.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tollgate::digest::Digest;
use tollgate::host::PluginStatus;
use tollgate::journal::record::Event;
use tollgate::plugin::signature::{Signer, Statement};
use tollgate::reason::Reason;

use crate::harness::binary::{Daemon, run};
use crate::harness::{Bench, Look as _, Setup, change, misfit, place, records};

const POLICY: &str =
    "permit (principal, action in Action::\"call\", resource in Plugin::\"guest\");";

fn plain() -> Vec<u8> {
    misfit("plain")
}

/// The same plugin, whose tool says something else of itself.
fn changed() -> Vec<u8> {
    let mut bytes = plain();
    let at = bytes
        .windows(16)
        .position(|window| window == b"Acts.{\"type\":\"ob")
        .expect("its description");
    bytes[at..at + 5].copy_from_slice(b"Lies.");
    bytes
}

fn guest() -> Setup {
    Setup::probe()
        .bytes("guest", plain())
        .policy("guest", POLICY)
}

/// Says so when it is dropped.
struct Enough<'a>(&'a AtomicUsize);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(usize::MAX, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn a_file_that_is_swapped_while_it_is_read_is_the_one_or_the_other() {
    const SWAPS: usize = 10_000;
    // The race is run so often at least, however slowly this machine looks at the folder.
    const LOOKS: usize = 30;
    let _row = crate::attacks::stands_for("P02");
    let bench = guest().start().await;
    let (old, new) = (Digest::of(&plain()), Digest::of(&changed()));
    let path = bench.plugin_file("guest");
    // What a change from the one to the other is shown as; it has both digests and both descriptions.
    bench.drop_plugin("guest", &changed()).await;
    let name = "guest".parse().unwrap();
    let shown = bench.host.plugin_diff(&name).unwrap();

    let (done, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    let swaps = || {
        let folder = path.parent().unwrap();
        let (one, two) = (folder.join(".one"), folder.join(".two"));
        std::fs::write(&one, plain()).unwrap();
        std::fs::write(&two, changed()).unwrap();
        let hidden = folder.join(".next");
        for turn in 0.. {
            if turn >= SWAPS && looks.load(Ordering::SeqCst) >= LOOKS {
                break;
            }
            let from = if turn % 2 == 0 { &one } else { &two };
            // By turns as another file and as a link to another file.
            if turn % 4 < 2 {
                std::fs::hard_link(from, &hidden).unwrap();
            } else {
                std::os::unix::fs::symlink(from, &hidden).unwrap();
            }
            std::fs::rename(&hidden, &path).unwrap();
            // A rename of one name of a file over another name of it does nothing, and leaves both.
            let _ = std::fs::remove_file(&hidden);
        }
        done.store(true, Ordering::SeqCst);
    };
    std::thread::scope(|scope| {
        scope.spawn(swaps);
        let host = bench.host.clone();
        let (done, looks) = (&done, &looks);
        let runtime = tokio::runtime::Handle::current();
        scope.spawn(move || {
            // However it ends, nobody swaps on for it.
            let _enough = Enough(looks);
            while !done.load(Ordering::SeqCst) {
                runtime.block_on(host.refresh());
                looks.fetch_add(1, Ordering::SeqCst);
                let reports = host.plugins();
                let Some(report) = reports.iter().find(|report| report.file == "guest.wasm") else {
                    continue;
                };
                match report.status {
                    PluginStatus::Serving => assert_eq!(report.digest, Some(old)),
                    PluginStatus::Quarantined => assert_eq!(report.digest, Some(new)),
                    _ => panic!("{report:?}"),
                }
            }
        });
    });
    let mut quarantined = 0;
    for record in bench.records() {
        let Event::Changed(change) = record.event else {
            continue;
        };
        if change.change == "plugin.quarantined" {
            assert_eq!(change.digest, Some(new));
            assert_eq!(
                change.diff,
                Some(shown.digest),
                "a digest of one and a description of the other: {change:?}"
            );
            quarantined += 1;
        }
    }
    assert!(quarantined > 1, "the race was never run");
    let reply = bench.call("guest_act", json!({})).await;
    assert_eq!(bench.ran(reply.call), Some(old), "what was accepted");
    bench.verify();
}

/// A header of a tar archive (ustar), and the content.
fn tar(entries: &[(&str, u8, &str)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, kind, content) in entries {
        let mut head = [0_u8; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..107].copy_from_slice(b"0000644");
        head[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        head[156] = *kind;
        if *kind == b'2' {
            head[157..157 + content.len()].copy_from_slice(content.as_bytes());
            head[124..135].copy_from_slice(b"00000000000");
        }
        head[257..263].copy_from_slice(b"ustar\0");
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend_from_slice(&head);
        if *kind != b'2' {
            let mut block = content.as_bytes().to_vec();
            block.resize(content.len().next_multiple_of(512), 0);
            archive.extend_from_slice(&block);
        }
    }
    archive.extend_from_slice(&[0; 1024]);
    archive
}

/// A zip archive with one stored file.
fn zip(name: &str, content: &str) -> Vec<u8> {
    let field = |value: usize, bytes: usize| value.to_le_bytes()[..bytes].to_vec();
    let sizes = [field(content.len(), 4), field(content.len(), 4)].concat();
    let common = [
        vec![0; 10],
        vec![0; 4],
        sizes,
        field(name.len(), 2),
        vec![0; 2],
    ]
    .concat();
    let local = [
        b"PK\x03\x04\x14\0".to_vec(),
        common[2..].to_vec(),
        name.into(),
        content.into(),
    ]
    .concat();
    let central = [
        b"PK\x01\x02\x14\0\x14\0".to_vec(),
        common[2..].to_vec(),
        vec![0; 14],
        name.into(),
    ]
    .concat();
    let end = [
        b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec(),
        field(central.len(), 4),
        field(local.len(), 4),
        vec![0; 2],
    ]
    .concat();
    [local, central, end].concat()
}

/// Every file outside of the state.
fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("state") {
            files(&path, all);
        } else if !path.is_dir() {
            all.push(path);
        }
    }
    all.sort();
}

#[tokio::test]
pub(crate) async fn an_archive_is_no_plugin_and_is_never_opened() {
    let _row = crate::attacks::stands_for("P10");
    let bench = guest().start().await;
    let root = bench.host.home().root().to_owned();
    let absolute = root.join("absolute.wasm");
    let good = "stands for a component";
    let archives = [
        ("parent", tar(&[("../escaped.wasm", b'0', good)])),
        ("absolute", tar(&[(absolute.to_str().unwrap(), b'0', good)])),
        (
            "link",
            tar(&[("out", b'2', ".."), ("out/escaped.wasm", b'0', good)]),
        ),
        (
            "twice",
            tar(&[("probe.wasm", b'0', good), ("probe.wasm", b'0', "other")]),
        ),
        (
            "case",
            tar(&[("probe.wasm", b'0', good), ("PROBE.wasm", b'0', "other")]),
        ),
        ("zip", zip("../escaped.wasm", good)),
        ("plain", tar(&[("inside.wasm", b'0', good)])),
    ];
    let list = || {
        let mut all = Vec::new();
        files(&root, &mut all);
        all
    };
    let before = list();
    for (what, archive) in archives {
        // By a component's name it is no component; by its own it is not looked at.
        let about = bench.drop_plugin("evil", &archive).await;
        let refused: Vec<_> = about
            .iter()
            .filter(|change| change.reason.is_some())
            .collect();
        assert_eq!(refused.len(), 1, "{what}: {about:?}");
        assert_eq!(refused[0].reason, Some(Reason::ComponentInvalid), "{what}");
        std::fs::remove_file(bench.plugin_file("evil")).unwrap();
        for ending in ["tar", "tar.gz", "zip", "tgz"] {
            let path = bench.host.home().plugins().join(format!("evil.{ending}"));
            place(&path, &archive);
            let reports = bench.refresh().await;
            assert_eq!(reports.serving, 2, "{what}");
            std::fs::remove_file(&path).unwrap();
        }
        bench.refresh().await;
        assert_eq!(list(), before, "{what}: nothing was written anywhere");
    }
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), None);
    bench.verify();
}

#[tokio::test]
async fn what_was_tampered_with_does_not_serve_after_a_restart_either() {
    let (folder, home) = guest().make().await;
    let bench = Bench::start_in(folder, home.clone()).await;
    assert_eq!(bench.call("guest_act", json!({})).await.text(), "acted");
    bench.host.stop().await;
    place(&home.plugins().join("guest.wasm"), &changed());
    let Bench { folder, host, .. } = bench;
    drop(host);
    let bench = Bench::start_in(folder, home).await;
    let reply = bench.call("guest_act", json!({})).await;
    assert_eq!(reply.reason(), Some(Reason::NameUnknown));
    // What was accepted is still known, word by word.
    let shown = bench.host.plugin_diff(&"guest".parse().unwrap()).unwrap();
    assert_eq!(shown.reason, Some(Reason::PinDigestMismatch));
    let says: Vec<_> = shown
        .diff
        .changes
        .iter()
        .map(|change| {
            (
                change.part.as_str(),
                change.before.clone(),
                change.after.clone(),
            )
        })
        .collect();
    let digest = |bytes: &[u8]| Some(json!(Digest::of(bytes)));
    assert_eq!(
        says,
        [
            ("", digest(&plain()), digest(&changed())),
            ("description", Some(json!("Acts.")), Some(json!("Lies."))),
        ]
    );
    let accepted = bench
        .host
        .accept(&"guest".parse().unwrap(), Some(shown.digest), None)
        .await
        .unwrap();
    assert_eq!(accepted, (Digest::of(&changed()), shown.digest));
    assert_eq!(bench.call("guest_act", json!({})).await.text(), "acted");
    bench.verify();
}

#[tokio::test]
async fn a_person_sees_what_changed_and_accepts_that() {
    let (_folder, home) = guest().make().await;
    let mut daemon = Daemon::start(&home).await;
    daemon.agent("alice").await;
    place(&home.plugins().join("guest.wasm"), &changed());
    run(&home, &["reload"]).await;
    let shown = run(&home, &["plugins", "diff"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    for part in [
        "guest: pin.digest_mismatch",
        "~ tool guest.act: description",
        "- Acts.",
        "+ Lies.",
        "alice may call guest.act",
    ] {
        assert!(shown.out.contains(part), "no `{part}`: {shown:?}");
    }
    let data = run(&home, &["plugins", "diff", "guest", "--format", "json"]).await;
    let digest = data.lines()[0]["digest"].as_str().unwrap().to_owned();
    assert!(shown.out.contains(&digest));
    // Nobody is there to be asked.
    let asked = run(&home, &["plugins", "accept", "guest"]).await;
    assert_eq!(asked.code, 3, "{asked:?}");
    assert!(asked.out.contains("+ Lies.") && asked.err.contains("--yes"));
    let other = Digest::of(b"other").to_string();
    let wrong = [
        "plugins",
        "accept",
        "guest",
        "--yes",
        "--component",
        other.as_str(),
    ];
    let refused = run(&home, &wrong).await;
    assert_ne!(refused.code, 0, "{refused:?}");
    let accepted = run(&home, &["plugins", "accept", "guest", "--yes"]).await;
    assert_eq!(accepted.code, 0, "{accepted:?}");
    let after = run(&home, &["plugins", "diff", "guest"]).await;
    assert!(after.out.contains("serves as it was accepted"), "{after:?}");
    daemon.stop().await;
    let diffs: Vec<_> = records(&home.journal())
        .into_iter()
        .filter_map(|record| match record.event {
            Event::Changed(change) => change.diff.map(|diff| (change.change, diff.to_string())),
            _ => None,
        })
        .collect();
    assert_eq!(
        diffs,
        [
            ("plugin.quarantined".to_owned(), digest.clone()),
            ("plugin.accepted".to_owned(), digest),
        ]
    );
}

/// A start takes in the folder by names, and `geust` comes before `guest`.
#[tokio::test]
async fn a_double_that_came_while_no_host_ran_is_held_against_what_was_accepted() {
    let (folder, home) = guest().make().await;
    let bench = Bench::start_in(folder, home.clone()).await;
    place(&home.plugins().join("geust.wasm"), &plain());
    let bench = bench.restart().await;
    let about = bench.changes_since(0);
    let waits = change(&about, "plugin.quarantined");
    assert_eq!(waits.subject.as_deref(), Some("geust"));
    assert_eq!(waits.reason, Some(Reason::NameConfusable));
    assert_eq!(bench.call("guest_act", json!({})).await.text(), "acted");
    bench.verify();
}

/// While a plugin waits, another may come to serve under a name that agents would see of both.
#[tokio::test]
async fn what_waited_is_not_accepted_into_a_name_that_was_taken_meanwhile() {
    let bench = Setup::empty()
        .bytes("probe_refused", plain())
        .toml("[plugin.probe.settings]\norigin = \"https://granted.example\"")
        .toml("[plugin.probe_refused.settings]\norigin = \"https://granted.example\"")
        .start()
        .await;
    let probe = std::fs::read(guests::PROBE).unwrap();
    let about = bench.drop_plugin("probe_refused", &probe).await;
    let waits = change(&about, "plugin.quarantined").digest;
    assert_eq!(waits, Some(Digest::of(&probe)));
    let about = bench.drop_plugin("probe", &probe).await;
    change(&about, "plugin.pinned");
    let name = "probe_refused".parse().unwrap();
    let refused = bench.host.accept(&name, None, waits).await.unwrap_err();
    assert!(refused.contains("probe_refused_storm"), "{refused}");
    let accepted = bench.changes_since(0);
    assert!(
        accepted.iter().all(|c| c.change != "plugin.accepted"),
        "{accepted:?}"
    );
    let report = bench.host.plugins();
    let probe = report.iter().find(|r| r.file == "probe.wasm").unwrap();
    assert_eq!(probe.status, PluginStatus::Serving);
    bench.verify();
}

#[tokio::test]
async fn a_signature_that_comes_later_counts_from_then_on() {
    let acme = Signer::new("acme", &[1; 32]).unwrap();
    let bench = guest()
        .toml(&format!(
            "[plugins]\nkeys = [{{ key = \"{}\" }}]",
            acme.key()
        ))
        .start()
        .await;
    let signed = |bytes: &[u8], version| {
        let statement = Statement {
            plugin: "guest".parse().unwrap(),
            component: Digest::of(bytes),
            version,
        };
        let beside = bench.plugin_file("guest").with_extension("wasm.sig");
        place(&beside, statement.sign(&acme).as_bytes());
    };
    // It was accepted unsigned; the same component, signed, needs no word of the operator.
    signed(&plain(), 7);
    let reports = bench.refresh().await;
    assert_eq!(reports.serving, 2);
    signed(&changed(), 6);
    let about = bench.drop_plugin("guest", &changed()).await;
    let waits = change(&about, "plugin.quarantined");
    assert_eq!(waits.reason, Some(Reason::PinRollback), "{waits:?}");
    bench.verify();
}
