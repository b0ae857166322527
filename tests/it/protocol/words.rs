//! Other programs' configuration: what this host writes there is words, whatever the words are.

use std::path::Path;

use serde_json::{Value, json};
use tollgate::home::Home;

use crate::harness::binary::{Daemon, command};
use crate::harness::mcp::Pipe;
use crate::harness::{Setup, misfit, place};

/// A command with a user's folder of its own.
async fn client(home: &Home, user: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = command(home, arguments)
        .env("HOME", user)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("CODEX_HOME")
        .current_dir(user)
        .output()
        .await
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// M15. No text that a plugin, an agent or a path brings along becomes more than one word of an array, and
/// nothing of a plugin gets there at all.
#[tokio::test]
pub(crate) async fn what_is_written_for_a_client_is_words() {
    let _row = crate::attacks::stands_for("M15");
    let (folder, home) = Setup::empty().make().await;
    let user = folder.path().join("user");
    std::fs::create_dir(&user).unwrap();
    // Names that try to be a command. The folder takes them for plugins that can't be.
    for name in ["x;touch pwned", "$(touch pwned)", "`touch pwned`", "x' 'y"] {
        place(
            &home.plugins().join(format!("{name}.wasm")),
            &misfit("plain"),
        );
    }
    let before = std::fs::read_dir(&user).unwrap().count();
    for name in [
        "claude",
        "cursor",
        "vscode",
        "codex",
        "gemini",
        "windsurf",
        "zed",
        "opencode",
        "claude-desktop",
    ] {
        let (code, out, err) = client(&home, &user, &["client", "print", name]).await;
        assert_eq!(code, 0, "{err}");
        assert!(
            !out.contains("pwned") && !err.contains("pwned"),
            "{out}{err}"
        );
        let (code, out, _) =
            client(&home, &user, &["--format", "json", "client", "print", name]).await;
        assert_eq!(code, 0);
        let line: Value = serde_json::from_str(out.trim()).unwrap();
        let server = &line["server"];
        let mut words: Vec<&str> = Vec::new();
        words.extend(server["command"].as_str());
        for list in ["command", "args"] {
            words.extend(
                server[list]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str),
            );
        }
        let root = home.root().to_str().unwrap();
        let expected = ["--home", root, "serve", "--stdio", "--agent", name];
        assert_eq!(words[1..], expected, "{server}");
        assert!(words[0].ends_with("tollgate"), "{server}");
        // No shell stands between.
        for shell in ["sh", "-c", "bash", "cmd"] {
            assert!(!words.contains(&shell), "{server}");
        }
    }
    assert_eq!(
        std::fs::read_dir(&user).unwrap().count(),
        before,
        "print writes nothing"
    );

    // A home whose path would be a command to a shell is one word; where a client would read more into it, it is refused.
    let odd = folder.path().join("it's $(touch pwned); `x`");
    std::fs::create_dir_all(odd.join("plugins")).unwrap();
    let odd = Home::at(&odd).unwrap();
    let (code, out, err) = client(
        &odd,
        &user,
        &["--format", "json", "client", "print", "codex"],
    )
    .await;
    assert_eq!(code, 0, "{err}");
    let line: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(line["server"]["args"][1], odd.root().to_str().unwrap());
    let (code, _, err) = client(&odd, &user, &["client", "add", "claude"]).await;
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("could replace"), "{err}");
    for (option, value) in [
        ("--name", "a; b"),
        ("--name", "$(x)"),
        ("--agent", "a b"),
        ("--agent", "$(x)"),
        ("--agent", "../x"),
    ] {
        let (code, _, err) =
            client(&home, &user, &["client", "add", "claude", option, value]).await;
        assert_eq!(code, 3, "{option} {value}: {err}");
    }
    assert_eq!(
        std::fs::read_dir(&user).unwrap().count(),
        before,
        "nothing was written"
    );

    // The daemon itself says what such a plugin is, and prints its name escaped.
    let mut daemon = Daemon::start(&home).await;
    let said = crate::harness::binary::run(&home, &["--format", "json", "plugins"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    for line in said.lines() {
        assert_eq!(line["reason"], "name.invalid", "{line}");
        assert_eq!(line["tools"], json!([]), "{line}");
    }
    daemon.stop().await;
}

/// What `client add` writes starts a session that works, and leaves the rest of the file as it was.
#[tokio::test]
async fn what_is_added_to_a_client_works() {
    let (folder, home) = Setup::probe()
        .toml("[server]\nlisten = \"127.0.0.1:0\"")
        .make()
        .await;
    crate::harness::known(&home, &["alice"]);
    let user = folder.path().join("user");
    let file = user.join(".cursor/mcp.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let old = "{\n  // mine\n  \"mcpServers\": {\n    \"other\": { \"url\": \"https://other.example\" },\n  },\n}\n";
    std::fs::write(&file, old).unwrap();
    let add = ["client", "add", "cursor", "--agent", "alice"];
    let (code, out, err) = client(&home, &user, &add).await;
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    let new = std::fs::read_to_string(&file).unwrap();
    for line in old.lines() {
        assert!(new.contains(line), "{line}: {new}");
    }
    let copy = user.join(".cursor/mcp.json.before-tollgate-1");
    assert_eq!(std::fs::read_to_string(copy).unwrap(), old);
    let (code, _, err) = client(&home, &user, &add).await;
    assert_eq!(code, 0);
    assert!(err.contains("already, as it should be"), "{err}");
    let (code, _, err) = client(&home, &user, &["client", "add", "cursor", "--agent", "bob"]).await;
    assert_eq!(code, 5, "{err}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), new);

    // As a client would: the command of a file, word by word.
    let plain = user.join("plain.json");
    let file = [
        "client",
        "add",
        "claude",
        "--agent",
        "alice",
        "--file",
        plain.to_str().unwrap(),
    ];
    assert_eq!(client(&home, &user, &file).await.0, 0);
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&plain).unwrap()).unwrap();
    let server = &written["mcpServers"]["tollgate"];
    let words: Vec<&str> = server["args"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let mut session = Pipe::of(server["command"].as_str().unwrap(), &words).await;
    let result = session.call("probe_echo", &json!({"text": "hello"})).await;
    assert_eq!(result["isError"], false, "{result}");
    session.rest().await;
    let said = crate::harness::binary::run(&home, &["stop"]).await;
    assert_eq!(said.code, 0, "{said:?}");
}
