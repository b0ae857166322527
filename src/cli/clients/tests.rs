//! Files as people have them, and names that try to be more than names.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use clap::ValueEnum as _;

use super::known::{Form, Places};
use super::*;
use crate::cli::args::Format;

fn entry(client: Client) -> ClientEntry {
    ClientEntry {
        client,
        name: "tollgate".into(),
        agent: None,
        task: None,
        project: false,
        http: None,
        token_variable: None,
    }
}

fn places(folder: &Path) -> Places {
    Places {
        user: folder.join("user"),
        config: folder.join("user/.config"),
        project: folder.join("project"),
        codex: None,
    }
}

fn home(path: &str) -> Home {
    Home::at(Path::new(path)).unwrap()
}

#[test]
fn every_client_has_a_file_and_a_server_of_words() {
    for client in Client::value_variants() {
        let server = server(&entry(*client), &home("/srv/my tools; rm -rf 'x'")).unwrap();
        let words = serde_json::to_string(&server).unwrap();
        // The path is one word, whatever a shell would make of it.
        assert!(words.contains("\"/srv/my tools; rm -rf 'x'\""), "{words}");
        assert!(words.contains("\"--stdio\""), "{words}");
        let file = client.file(&places(Path::new("/f")), false).unwrap();
        assert!(file.starts_with("/f/user"), "{file:?}");
        let (Form::Json(table) | Form::Toml(table)) = client.form();
        let text = match client.form() {
            Form::Json(_) => jsonc::put("", table, "tollgate", &server),
            Form::Toml(_) => toml::put("", table, "tollgate", &server),
        };
        let text = text.unwrap();
        let again = match client.form() {
            Form::Json(_) => jsonc::get(&text, table, "tollgate"),
            Form::Toml(_) => toml::get(&text, table, "tollgate"),
        };
        assert_eq!(again.unwrap(), Some(server), "{text}");
    }
}

/// M15: nothing that a client or a shell would take for more than a word.
#[test]
fn what_a_client_could_replace_is_refused() {
    let refused = |entry: &ClientEntry, path: &str| server(entry, &home(path)).unwrap_err().message;
    for path in ["/srv/${HOME}", "/srv/$(id)", "/srv/{env:X}", "/srv/%PATH%"] {
        assert!(
            refused(&entry(Client::Cursor), path).contains("replace"),
            "{path}"
        );
        assert!(server(&entry(Client::Codex), &home(path)).is_ok(), "{path}");
    }
    for path in ["/srv/a\nb", "/srv/\u{1b}[2J"] {
        assert!(
            refused(&entry(Client::Codex), path).contains("control character"),
            "{path:?}"
        );
    }
    for name in ["", "a b", "a\"b", "$(id)", "a;b", "-x", "é", "../x"] {
        let entry = ClientEntry {
            name: name.into(),
            ..entry(Client::Claude)
        };
        assert!(
            refused(&entry, "/srv").contains("can't be the name"),
            "{name:?}"
        );
    }
    for (url, variable) in [
        ("http://127.0.0.1:1/mcp", "A-B"),
        ("http://127.0.0.1:1/mcp", "A}${B"),
        ("http://127.0.0.1:1/mcp", ""),
        ("http://${X}/mcp", "T"),
        ("http://a/{env:X}", "T"),
        ("http://user:word@a/mcp", "T"),
        ("file:///etc/passwd", "T"),
        ("http://a/ b", "T"),
    ] {
        let entry = ClientEntry {
            http: Some(url.into()),
            token_variable: Some(variable.into()),
            ..entry(Client::Claude)
        };
        assert!(server(&entry, &home("/srv")).is_err(), "{url} {variable}");
    }
}

#[test]
fn over_http_the_token_stays_in_a_variable() {
    let over = |client| {
        let entry = ClientEntry {
            http: Some("http://127.0.0.1:8787/mcp".into()),
            token_variable: Some("TOLLGATE_TOKEN".into()),
            ..entry(client)
        };
        server(&entry, &home("/srv"))
    };
    let shown: Vec<String> = Client::value_variants()
        .iter()
        .map(|client| match over(*client) {
            Ok(server) => format!("{}: {server}", client.name()),
            Err(fault) => format!("{}: {}", client.name(), fault.message),
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    claude: {"type":"http","url":"http://127.0.0.1:8787/mcp","headers":{"Authorization":"Bearer ${TOLLGATE_TOKEN}"}}
    claude-desktop: the file of `claude-desktop` can't name a variable for the token: leave `--http` out
    cursor: {"url":"http://127.0.0.1:8787/mcp","headers":{"Authorization":"Bearer ${env:TOLLGATE_TOKEN}"}}
    vscode: {"type":"http","url":"http://127.0.0.1:8787/mcp","headers":{"Authorization":"Bearer ${env:TOLLGATE_TOKEN}"}}
    codex: {"url":"http://127.0.0.1:8787/mcp","bearer_token_env_var":"TOLLGATE_TOKEN"}
    gemini: the file of `gemini` can't name a variable for the token: leave `--http` out
    windsurf: the file of `windsurf` can't name a variable for the token: leave `--http` out
    zed: the file of `zed` can't name a variable for the token: leave `--http` out
    opencode: {"type":"remote","url":"http://127.0.0.1:8787/mcp","enabled":true,"headers":{"Authorization":"Bearer {env:TOLLGATE_TOKEN}"}}
    "#);
}

#[test]
fn a_file_is_changed_in_one_place_and_what_it_was_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/mcp.json");
    let server = json!({"command": "/t", "args": []});
    let form = Form::Json("mcpServers");
    // A file that was not there.
    let written = file::put(&path, form, "tollgate", &server, false).unwrap();
    assert_eq!(written, Written::Changed { backup: None });
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(
        file::put(&path, form, "tollgate", &server, false).unwrap(),
        Written::Same
    );

    // Another server of the name is not touched unless that is said; then what was there is kept.
    let before = fs::read_to_string(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let other = json!({"command": "/u", "args": ["x"]});
    let fault = file::put(&path, form, "tollgate", &other, false).unwrap_err();
    assert_eq!(fault.exit, Exit::Conflict);
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    let Written::Changed {
        backup: Some(backup),
    } = file::put(&path, form, "tollgate", &other, true).unwrap()
    else {
        panic!("no backup");
    };
    assert_eq!(fs::read_to_string(&backup).unwrap(), before);
    for file in [&path, &backup] {
        assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o640);
    }
    // A second change leaves a second copy.
    let written = file::put(&path, form, "more", &other, false).unwrap();
    assert!(matches!(&written, Written::Changed { backup: Some(second) } if *second != backup));

    // What can't be read is left as it is.
    fs::write(&path, "{ not json").unwrap();
    assert_eq!(
        file::put(&path, form, "x", &server, true).unwrap_err().exit,
        Exit::Invalid
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "{ not json");
    let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(files, 3, "the file and two copies");
}

#[test]
fn a_link_to_a_file_elsewhere_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (
        folder.path().join("real.json"),
        folder.path().join("link.json"),
    );
    fs::write(&real, "{}").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    file::put(&link, Form::Json("servers"), "tollgate", &json!({}), false).unwrap();
    assert!(
        fs::symlink_metadata(&link)
            .unwrap()
            .file_type()
            .is_symlink()
    );
    assert!(fs::read_to_string(&real).unwrap().contains("tollgate"));
}

#[test]
fn a_toml_file_keeps_its_comments_and_order() {
    let text = "# mine\nmodel = \"o5\" # fast\n\n[mcp_servers.other]\ncommand = 'x'\nargs = [\"-y\", # why\n  \"z\"]\n\n[profiles.a]\nmodel = \"b\"\n";
    let server = json!({"command": "/t \"q\"", "args": ["--home", "/a b"]});
    let new = toml::put(text, "mcp_servers", "tollgate", &server).unwrap();
    for line in text.lines() {
        assert!(new.contains(line), "{line}: {new}");
    }
    assert_eq!(
        toml::get(&new, "mcp_servers", "tollgate").unwrap(),
        Some(server.clone())
    );
    let again = toml::put(&new, "mcp_servers", "tollgate", &json!({"url": "u"})).unwrap();
    assert!(
        !again.contains("/a b") && again.contains("# why"),
        "{again}"
    );
    let inline = toml::put(
        "mcp_servers = { a = { url = \"u\" } }\n",
        "mcp_servers",
        "b",
        &server,
    );
    let inline = inline.unwrap();
    assert_eq!(
        toml::get(&inline, "mcp_servers", "b").unwrap(),
        Some(server.clone())
    );
    for text in ["[", "mcp_servers = 5", "a = 1\na = 2"] {
        assert!(
            toml::put(text, "mcp_servers", "b", &server).is_err(),
            "{text}"
        );
    }
}

#[test]
fn what_is_printed_can_be_put_into_the_file() {
    let (mut printer, out, err) = Printer::buffers(Format::Human);
    let mut entry = entry(Client::Vscode);
    entry.agent = Some("builder".parse().unwrap());
    print(
        &entry,
        &home("/srv"),
        &places(Path::new("/f")),
        &mut printer,
    )
    .unwrap();
    let printed: Value = serde_json::from_str(&out.text()).unwrap();
    let server = &printed["servers"]["tollgate"];
    assert_eq!(server["type"], "stdio");
    assert_eq!(
        server["args"],
        json!(["--home", "/srv", "serve", "--stdio", "--agent", "builder"])
    );
    assert_eq!(err.text(), "for `/f/user/.config/Code/User/mcp.json`:\n");
}
