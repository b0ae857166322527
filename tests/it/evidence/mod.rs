//! What a journal can show to somebody who has none of it: proofs, receipts, checkpoints kept elsewhere.
//! By the real program, and where there is something to check, by the second verifier too.

pub(crate) mod rewritten;
mod witness;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::digest::Digest;
use tollgate::home::Home;
use tollgate::journal::record::Event;

use self::witness::Witness;
use crate::harness::binary::{Daemon, Said, run, run_with};
use crate::harness::{Setup, assert_verifies, records};

/// What the second verifier says: good or bad.
pub(crate) fn second(arguments: &[&str]) -> bool {
    let output = Command::new("python3")
        .arg("-B")
        .arg(crate::verifier::script())
        .args(arguments)
        .output()
        .expect("python3 is needed to run the second verifier");
    match output.status.code() {
        Some(0) => true,
        Some(6) => false,
        code => panic!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

pub(crate) async fn audit(home: &Home, arguments: &[&str]) -> Said {
    let arguments = [&["--format", "json", "audit"][..], arguments].concat();
    run(home, &arguments).await
}

fn written(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A home without anything in it: that of somebody who checks.
fn elsewhere() -> (TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path()).unwrap();
    (folder, home)
}

/// One call of `probe_echo`; its id, as the result carries it.
async fn call(daemon: &Daemon, token: &str, text: &str) -> String {
    let reply = daemon
        .client(token)
        .call("probe_echo", &json!({"text": text}))
        .await;
    assert_eq!(reply["isError"], false, "{reply}");
    reply["_meta"]["dev.tollgate/call"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn key_of(home: &Home) -> String {
    let text = std::fs::read_to_string(home.journal().join("log.pub")).unwrap();
    text.trim_end().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn the_audit_id_of_a_result_gives_a_receipt_that_is_checked_anywhere() {
    let (_folder, home) = Setup::probe().make().await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    call(&daemon, &token, "before").await;
    let id = call(&daemon, &token, "hello").await;
    call(&daemon, &token, "after").await;
    daemon.stop().await;
    assert_verifies(&home.journal());

    let said = run(&home, &["audit", "receipt", &id]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let (folder, nobody) = elsewhere();
    let file = written(&folder, "receipt.json", &said.out);
    let key = key_of(&home);
    let checked = audit(&nobody, &["check", text(&file), "--pub", &key]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let checked = checked.lines().remove(0);
    assert_eq!(checked["call"], id.as_str());
    let summary = &checked["summary"];
    assert_eq!(summary["status"], "ok");
    assert_eq!(summary["tool"], "probe.echo");
    assert_eq!(
        summary["caller"]["agent"],
        "spiffe://tollgate.local/agent/alice"
    );
    let arguments = Digest::of(br#"{"text":"hello"}"#);
    assert_eq!(summary["arguments"], arguments.to_string());
    let component = std::fs::read(home.plugins().join("probe.wasm")).unwrap();
    assert_eq!(summary["plugin"], Digest::of(&component).to_string());
    assert!(summary["fuel"].as_u64().unwrap() > 0);
    assert!(
        summary["decision"]["set"].is_string() && !summary["decision"]["policies"][0].is_null()
    );
    assert!(second(&["receipt", text(&file), &key]));

    // In its own home no key has to be named; elsewhere one must be.
    assert_eq!(audit(&home, &["check", text(&file)]).await.code, 0);
    let unkeyed = audit(&nobody, &["check", text(&file)]).await;
    assert_eq!(unkeyed.code, 3, "{unkeyed:?}");
    // From standard input, and for people.
    let piped = run_with(&home, &["audit", "check", "-"], &said.out).await;
    assert!(
        piped.code == 0 && piped.out.starts_with("good: "),
        "{piped:?}"
    );

    // Whatever is changed in it shows.
    let other = "spiffe://tollgate.local/agent/alicf";
    for (from, to) in [
        ("spiffe://tollgate.local/agent/alice", other),
        (&arguments.hex()[..8], "00000000"),
        ("\\\"fuel\\\":", "\\\"fuel\\\":1"),
        ("index ", "index 1"),
    ] {
        assert!(said.out.contains(from), "{from}");
        let file = written(&folder, "changed.json", &said.out.replace(from, to));
        let bad = audit(&nobody, &["check", text(&file), "--pub", &key]).await;
        assert_eq!(bad.code, 6, "{from}: {bad:?}");
        assert!(!second(&["receipt", text(&file), &key]), "{from}");
    }
    // Another log's key proves nothing of this one.
    let stranger = "host.example/tollgate/1+6efc5b65+AbrEOtZt+4DlXVuxfMZVoJKPTJZ6fhlX8vqzPkKgsIBf";
    let bad = audit(&nobody, &["check", text(&file), "--pub", stranger]).await;
    assert_ne!(bad.code, 0, "{bad:?}");
}

#[tokio::test]
async fn a_record_is_proved_to_whoever_has_the_key_and_nothing_else() {
    let (_folder, home) = Setup::probe().make().await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let id = call(&daemon, &token, "hello").await;
    daemon.stop().await;
    let intent = records(&home.journal())
        .into_iter()
        .find(|record| matches!(&record.event, Event::Intent(intent) if intent.call.to_string() == id))
        .unwrap();
    let said = run(&home, &["audit", "prove", &intent.seq.to_string()]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.starts_with("c2sp.org/tlog-proof@v1\nextra "),
        "{}",
        said.out
    );
    let (folder, nobody) = elsewhere();
    let file = written(&folder, "intent.tlog-proof", &said.out);
    let key = key_of(&home);
    let checked = audit(&nobody, &["check", text(&file), "--pub", &key]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert_eq!(checked.lines()[0]["record"], intent.seq);
    assert!(second(&["proof", text(&file), &key]));
    for (from, to) in [
        ("index ", "index 1"),
        ("extra ", "extra AAAA"),
        ("@v1", "@v2"),
    ] {
        let file = written(&folder, "changed.tlog-proof", &said.out.replace(from, to));
        assert_eq!(
            audit(&nobody, &["check", text(&file), "--pub", &key])
                .await
                .code,
            6
        );
        assert!(!second(&["proof", text(&file), &key]));
    }
    let missing = audit(&home, &["prove", "999999"]).await;
    assert_eq!(missing.code, 3, "{missing:?}");
    let zero = audit(&home, &["prove", "0"]).await;
    assert_eq!(zero.code, 3, "{zero:?}");
}

/// A home whose checkpoints go to a witness and to a file, and that file.
async fn anchored(witness: &Witness) -> (TempDir, Home, PathBuf) {
    let (folder, home) = Setup::probe().make().await;
    let kept = folder.path().join("elsewhere");
    let toml = format!(
        "{}{}[[journal.anchor]]\nkind = \"file\"\npath = \"{}\"\nevery = \"24h\"\n",
        std::fs::read_to_string(home.config()).unwrap_or_default(),
        witness.toml(),
        kept.display()
    );
    std::fs::write(home.config(), toml).unwrap();
    (folder, home, kept)
}

/// What `anchor --now` says of one kind of place.
fn sent_to<'a>(lines: &'a [Value], kind: &str) -> &'a Value {
    let mut lines = lines.iter();
    let found = lines.find(|line| line["to"].as_str().unwrap().starts_with(kind));
    found.unwrap()
}

/// A daemon whose checkpoints a witness signs, and that file.
#[tokio::test]
async fn what_a_witness_signed_is_in_receipts_and_a_second_path_grows() {
    let witness = Witness::start().await;
    let (folder, home, kept) = anchored(&witness).await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let id = call(&daemon, &token, "one").await;
    // It does not know the log yet, and says so; the other anchor is none the worse.
    let refused = audit(&home, &["anchor", "--now"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let lines = refused.lines();
    let why = sent_to(&lines, "witness")["error"].as_str().unwrap();
    assert!(why.contains("404"), "{why}");
    assert!(sent_to(&lines, "file")["error"].is_null());

    let key = run(&home, &["audit", "anchor", "--key"]).await;
    assert_eq!(key.code, 0, "{key:?}");
    witness.register(key.out.trim_end());
    let taken = audit(&home, &["anchor", "--now"]).await;
    assert_eq!(taken.code, 0, "{taken:?}");
    let lines = taken.lines();
    let size = sent_to(&lines, "witness")["size"].as_u64().unwrap();
    call(&daemon, &token, "two").await;
    let again = audit(&home, &["anchor", "--now"]).await;
    assert_eq!(again.code, 0, "{again:?}");
    // The second time it goes on from what the witness signed, which the host still knows.
    let asked = witness.asked();
    assert_eq!(asked.last().unwrap(), &(size, 200), "{asked:?}");
    // Two at once take turns: what the one has sent is no other history to the other.
    let now = || audit(&home, &["anchor", "--now"]);
    let (one, other) = tokio::join!(now(), now());
    assert_eq!((one.code, other.code), (0, 0), "{one:?} {other:?}");
    daemon.stop().await;
    assert_verifies(&home.journal());

    // What left the host was written down before.
    let sent = records(&home.journal())
        .into_iter()
        .filter(|record| matches!(&record.event, Event::Changed(changed) if changed.change == "anchor.sent"))
        .count();
    assert!(sent >= 3, "{sent}");
    let receipt = run(&home, &["audit", "receipt", &id]).await;
    let file = written(&folder, "receipt.json", &receipt.out);
    let checked = audit(
        &home,
        &[
            "check",
            text(&file),
            "--witness",
            &witness.key(),
            "--pub",
            &key_of(&home),
        ],
    )
    .await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let witnesses = &checked.lines()[0]["witnesses"];
    assert_eq!(witnesses[0]["name"], "witness.example/w1", "{checked:?}");
    let since = audit(&home, &["since", text(&kept)]).await;
    assert_eq!(since.code, 0, "{since:?}");
    assert_eq!(
        since.lines()[0]["since"],
        0,
        "the last checkpoint went there as the host ended"
    );
    let since = audit(&home, &["since", text(&file)]).await;
    assert_eq!(
        since.code, 0,
        "a receipt is a checkpoint that somebody kept: {since:?}"
    );
}

/// L06: an older copy of the journal is put in its place and goes on: a witness and a second path
/// each tell the two histories apart.
#[tokio::test]
pub(crate) async fn a_fork_is_told_apart_by_a_witness_and_by_a_second_path() {
    let _row = crate::attacks::stands_for("L06");
    let witness = Witness::start().await;
    let (folder, home, kept) = anchored(&witness).await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    call(&daemon, &token, "both have this").await;
    daemon.stop().await;
    let copy = folder.path().join("copy");
    copied(&home.journal(), &copy);

    let mut daemon = Daemon::start(&home).await;
    let key = run(&home, &["audit", "anchor", "--key"]).await;
    witness.register(key.out.trim_end());
    for text in ["this", "was", "done", "and", "seen"] {
        call(&daemon, &token, text).await;
    }
    let anchored = audit(&home, &["anchor", "--now"]).await;
    assert_eq!(anchored.code, 0, "{anchored:?}");
    daemon.stop().await;
    let evidence = std::fs::read_to_string(&kept).unwrap();

    // The copy takes the journal's place: it is good in itself, and shorter than what was seen.
    std::fs::remove_dir_all(home.journal()).unwrap();
    copied(&copy, &home.journal());
    assert_eq!(audit(&home, &["verify"]).await.code, 0);
    let cut = audit(&home, &["since", text(&kept)]).await;
    assert_eq!(cut.code, 6, "{cut:?}");
    assert!(cut.out.contains("cut off"), "{cut:?}");
    let mut daemon = Daemon::start(&home).await;
    let cut = audit(&home, &["anchor", "--now"]).await;
    assert_eq!(cut.code, 6, "{cut:?}");
    assert!(
        cut.lines().iter().all(|line| line["conflict"] == true),
        "{cut:?}"
    );

    // It goes on, until it is longer than the true one was.
    for text in [
        "another", "history", "is", "made", "up", "here", "and", "now",
    ] {
        call(&daemon, &token, text).await;
    }
    let fork = audit(&home, &["anchor", "--now"]).await;
    assert_eq!(fork.code, 6, "{fork:?}");
    let lines = fork.lines();
    let said = |what: &str| sent_to(&lines, what)["error"].as_str().unwrap();
    assert!(said("witness").contains("not the beginning"), "{lines:?}");
    assert!(said("file").contains("rewritten"), "{lines:?}");
    assert_eq!(witness.asked().last().unwrap().1, 422);
    let told = daemon.said();
    daemon.stop().await;
    assert!(told.contains("not the one that was anchored"), "{told}");
    // The evidence is as it was, and what happened is in the journal that goes on.
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), evidence);
    let conflicts = records(&home.journal())
        .into_iter()
        .filter(|record| matches!(&record.event, Event::Changed(changed) if changed.change == "anchor.conflict"))
        .count();
    assert!(conflicts >= 4, "{conflicts}");
    assert_eq!(
        audit(&home, &["verify"]).await.code,
        0,
        "it is good in itself"
    );
    let fork = audit(&home, &["since", text(&kept)]).await;
    assert_eq!(fork.code, 6, "{fork:?}");
    assert!(fork.out.contains("rewritten"), "{fork:?}");
}

pub(crate) fn copied(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
