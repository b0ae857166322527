use std::time::Duration;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/home/tollgate.toml"), text)
}

fn wrong(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn tool(name: &str) -> ToolName {
    name.parse().unwrap()
}

/// The template with every default written out.
fn written_out() -> String {
    let example = [
        "plugin",
        "secret",
        "admin",
        "[webhook",
        "[issuer",
        "issuer",
        "telemetry",
        "[journal.anchor",
    ];
    let mut skip = false;
    let mut out = String::new();
    for line in TEMPLATE.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(table) = bare.strip_prefix('[') {
            skip = example.iter().any(|e| table.starts_with(e));
        }
        let setting = bare
            .split_once(" = ")
            .is_some_and(|(key, _)| crate::name::is_plain(key));
        if !skip && (setting || bare.starts_with('[')) {
            out.push_str(bare);
            out.push('\n');
        }
    }
    out
}

#[test]
fn the_template_and_nothing_are_the_defaults() {
    let nothing = parse("").unwrap();
    let template = parse(TEMPLATE).unwrap();
    assert_eq!(nothing, template);
    let any = tool("jq.filter");
    assert_eq!(nothing.limits(&any), CallLimits::default());
    assert_eq!(nothing.concurrency, Concurrency::default());
    assert_eq!(nothing.server.listen.to_string(), "127.0.0.1:8787");
    assert_eq!(nothing.tier(&any), Tier::Auto);
    assert_eq!(nothing.secret_place(any.plugin(), "x"), SecretPlace::Store);
}

#[test]
fn the_template_shows_the_true_defaults() {
    let examples = ["proxy = ", "tls = "];
    let text: String = written_out()
        .lines()
        .filter(|line| !examples.iter().any(|example| line.starts_with(example)))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(text.lines().count() > 35, "{text}");
    let shown = parse(&text).unwrap();
    let nothing = Config::default();
    let any = tool("jq.filter");
    assert_eq!(shown.limits(&any), nothing.limits(&any));
    assert_eq!(shown.concurrency, nothing.concurrency);
    assert_eq!(shown.rate, nothing.rate);
    assert_eq!(shown.server, nothing.server);
    assert_eq!(shown.egress, nothing.egress);
    assert_eq!(shown.journal, nothing.journal);
    assert_eq!(shown.log, nothing.log);
    assert_eq!(shown.tier(&any), nothing.tier(&any));
}

#[test]
fn the_examples_in_the_template_can_be_used() {
    let examples: String = TEMPLATE
        .lines()
        .skip_while(|l| *l != "# [plugin.github]")
        .take_while(|l| *l != "# source = \"file\"")
        .filter_map(|l| l.strip_prefix("# "))
        .filter(|l| l.starts_with('[') || l.contains(" = "))
        .flat_map(|l| [l, "\n"])
        .collect();
    let examples = examples.strip_suffix("[secret.github.token]\n").unwrap();
    let config = parse(examples).unwrap();
    let comment = tool("github.comment");
    assert_eq!(config.tier(&comment), Tier::Hold);
    assert_eq!(config.limits(&comment).time, Duration::from_secs(10));
    assert_eq!(
        config.secret_place(comment.plugin(), "token"),
        SecretPlace::Variable("GITHUB_TOKEN".into())
    );
}

#[test]
fn a_tool_goes_before_its_plugin_and_that_before_the_host() {
    let config = parse(
        r#"
        [limits]
        time = "20s"
        memory = "128MiB"
        [limits.http]
        idle = "1s"
        [tools]
        tier = "log"
        [plugin.github]
        concurrency = 3
        tier = "hold"
        [plugin.github.limits]
        time = "10s"
        output = 4096
        [plugin.github.limits.arguments]
        depth = 8
        [plugin.github.tool.list]
        tier = "auto"
        [plugin.github.tool.list.limits]
        time = "500ms"
        "#,
    )
    .unwrap();
    let list = config.limits(&tool("github.list"));
    assert_eq!(list.time, Duration::from_millis(500));
    assert_eq!(list.output, 4096);
    assert_eq!(list.memory, 128 << 20);
    assert_eq!(list.arguments.depth, 8);
    assert_eq!(list.http.idle, Duration::from_secs(1));
    assert_eq!(list.fuel, CallLimits::default().fuel);
    assert_eq!(
        config.limits(&tool("github.read")).time,
        Duration::from_secs(10)
    );
    assert_eq!(
        config.limits(&tool("jq.filter")).time,
        Duration::from_secs(20)
    );
    assert_eq!(config.tier(&tool("github.list")), Tier::Auto);
    assert_eq!(config.tier(&tool("github.read")), Tier::Hold);
    assert_eq!(config.tier(&tool("jq.filter")), Tier::Log);
    assert_eq!(config.plugin_concurrency(tool("github.x").plugin()), 3);
    assert_eq!(config.plugin_concurrency(tool("jq.x").plugin()), 64);
}

#[test]
fn a_plugin_has_its_name_for_a_prefix_unless_the_operator_says_otherwise() {
    let config = parse("[plugin.github]\nprefix = \"\"\n[plugin.jq]\nprefix = \"J-q\"").unwrap();
    let wire = |name: &str| {
        let tool = tool(name);
        config.prefix(tool.plugin()).wire(&tool).unwrap()
    };
    assert_eq!(wire("github.search"), "search");
    assert_eq!(wire("jq.filter"), "J-q_filter");
    assert_eq!(wire("time.now"), "time_now");
    let said = wrong("[plugin.jq]\nprefix = \"a b\"");
    assert!(said.contains("`a b` can't be a name"), "{said}");
}

#[test]
fn settings_have_a_digest_that_any_change_changes() {
    let plugin: PluginName = "github".parse().unwrap();
    let digest = |text: &str| parse(text).unwrap().settings_digest(&plugin);
    let one = digest("[plugin.github.settings]\na = \"bc\"");
    assert_ne!(one, digest("[plugin.github.settings]\nab = \"c\""));
    assert_ne!(one, digest(""));
    let config = parse("[plugin.github.settings]\na = \"bc\"").unwrap();
    assert_eq!(config.setting(&plugin, "a"), Some("bc"));
    assert_eq!(config.setting(&plugin, "b"), None);
}

#[test]
fn an_operator_names_tiers_and_how_many_must_agree() {
    let config = parse(
        r#"
        [approvals]
        wait = "0s"
        per_minute = 5
        [tools]
        approvals = 2
        [tier.payments]
        like = "hold"
        approvals = 3
        [tier.careful]
        like = "log"
        [plugin.bank]
        tier = "payments"
        [plugin.bank.tool.balance]
        tier = "careful"
        [plugin.bank.tool.pay]
        approvals = 4
        "#,
    )
    .unwrap();
    let of = |name: &str| {
        let tool = name.parse().unwrap();
        let needed = config.approvals_needed(&tool);
        (
            config.tier(&tool),
            config.tier_name(&tool).to_owned(),
            needed,
        )
    };
    assert_eq!(of("bank.send"), (Tier::Hold, "payments".to_owned(), 3));
    assert_eq!(of("bank.pay"), (Tier::Hold, "payments".to_owned(), 4));
    assert_eq!(of("bank.balance"), (Tier::Log, "careful".to_owned(), 2));
    assert_eq!(of("jq.filter"), (Tier::Auto, "auto".to_owned(), 2));
    assert_eq!(config.approvals.per_minute, 5);
}

#[test]
fn paths_start_from_the_file() {
    let config = parse(
        r#"
        [egress]
        extra_ca = ["ca.pem", "/etc/ca.pem"]
        proxy = "http://127.0.0.1:3128"
        [secret.github.token]
        source = "file"
        path = "token"
        "#,
    )
    .unwrap();
    assert_eq!(
        config.egress.extra_ca,
        [Path::new("/home/ca.pem"), Path::new("/etc/ca.pem")]
    );
    assert_eq!(
        config.egress.proxy,
        Some(Proxy {
            host: "127.0.0.1".into(),
            port: 3128
        })
    );
    assert_eq!(
        config.secret_place(&"github".parse().unwrap(), "token"),
        SecretPlace::File("/home/token".into())
    );
}

#[test]
fn each_kind_of_mistake_has_its_message() {
    let mistakes = [
        "[limits]\ntime = \"30s\"\ntiem = \"30s\"",
        "[limits]\n  time = 30",
        "[limits]\ntime = \"30\"",
        "[limits]\ntime = \"0s\"",
        "[limits]\nmemory = \"64MB\"",
        "[limits]\nfuel = 0",
        "[limits]\nfuel = -1",
        "[limits.http]\nheader_fields = 40_000",
        "[plugin.github.limits]\nfule = 1",
        "[plugin.github.tool.list]\ntier = \"never\"",
        "[tier.hold]\nlike = \"auto\"",
        "[tier.own]\nlike = \"own\"",
        "[tools]\napprovals = 0",
        "[approvals]\nttl = \"0s\"",
        "[plugin.GitHub]",
        "[plugin.github.tool.\"a b\"]",
        "[plugin.github.settings]\napi = 5",
        "[sevrer]",
        "[server]\nlisten = \"localhost\"",
        "[egress]\nproxy = \"http://user:hunter2@proxy:1\"",
        "[secret.github.token]\nsource = \"vault\"",
        "[log]\n[secret.github.token]\nsource = \"env\"",
        "[secret.github.token]\nvariable = \"X\"",
        "[secret.github.token]\nsource = \"store\"\npath = \"x\"",
        "[secret.github.token]\nsource = \"env\"\nvariable = \"A=B\"",
        "[journal]\nsync = \"never\"",
        "[log]\nlevel = \"info\"\nlevel = \"info\"",
        "[log",
        "key = \"é\" \u{7}",
    ];
    let messages: Vec<_> = mistakes.iter().map(|m| wrong(m)).collect();
    assert!(
        messages
            .iter()
            .all(|m| !m.contains('\n') && !m.contains("hunter2"))
    );
    insta::assert_snapshot!(messages.join("\n"), @r#"
    /home/tollgate.toml:3:1: unknown field `tiem`, expected one of `fuel`, `time`, `job_time`, `memory`, `table_entries`, `handles`, `host_calls`, `host_bytes`, `host_call_bytes`, `refusals`, `output`, `log_bytes`, `failures`, `pause`, `arguments`, `http`
    /home/tollgate.toml:2:10: `time` needs a unit: write "30s" or "30ms"
    /home/tollgate.toml:2:8: invalid value: string "30", expected a time from "10ms" to "1h" (units: ms, s, min, h) for `time`
    /home/tollgate.toml:2:8: `time` can't be "0s": use a time from "10ms" to "1h" (units: ms, s, min, h)
    /home/tollgate.toml:2:10: invalid value: string "64MB", expected a size from "1MiB" to "4GiB" (units: B, KiB, MiB, GiB) for `memory`
    /home/tollgate.toml:2:8: `fuel` can't be 0: use an integer from 10000 to 10000000000000
    /home/tollgate.toml:2:8: `fuel` can't be -1: use an integer from 10000 to 10000000000000
    /home/tollgate.toml:2:17: `header_fields` can't be 40000: use an integer from 1 to 1000
    /home/tollgate.toml:2:1: unknown field `fule`, expected one of `fuel`, `time`, `job_time`, `memory`, `table_entries`, `handles`, `host_calls`, `host_bytes`, `host_call_bytes`, `refusals`, `output`, `log_bytes`, `failures`, `pause`, `arguments`, `http`
    /home/tollgate.toml:2:8: there is no tier `never`: use "auto", "log", "hold", "forbid", or the name of a table `[tier.<name>]`
    /home/tollgate.toml:1:7: `hold` is a tier that there is already: choose another name
    /home/tollgate.toml:2:8: unknown variant `own`, expected one of `auto`, `log`, `hold`, `forbid`
    /home/tollgate.toml:2:13: `approvals` can't be 0: use an integer from 1 to 8
    /home/tollgate.toml:2:7: `ttl` can't be "0s": use a time from "1s" to "168h" (units: ms, s, min, h)
    /home/tollgate.toml:1:9: `GitHub` can't be a name: use 1 to 32 of `a`-`z`, `A`-`Z`, `0`-`9`, `_` and `-`, starting with a letter or digit
    /home/tollgate.toml:1:21: `a b` can't be a name: use 1 to 64 of `a`-`z`, `A`-`Z`, `0`-`9`, `_` and `-`, starting with a letter or digit
    /home/tollgate.toml:2:7: invalid type: integer `5`, expected a string
    /home/tollgate.toml:1:2: unknown field `sevrer`, expected one of `server`, `issuer`, `admin`, `webhook`, `limits`, `describe`, `approvals`, `concurrency`, `rate`, `jobs`, `tools`, `tier`, `tasks`, `tapes`, `plugins`, `plugin`, `secret`, `vault`, `leases`, `egress`, `journal`, `log`, `telemetry`
    /home/tollgate.toml:2:10: `localhost` is no address to listen on: write an IP address and a port, such as "127.0.0.1:8787" or "[::1]:8787", or a Unix socket, "unix:/run/tollgate/mcp.sock"
    /home/tollgate.toml:2:9: `proxy` is not an HTTP proxy: write "http://<host>:<port>", without user, path or query
    /home/tollgate.toml:1:1: a secret with `source = "vault"` needs `path`
    /home/tollgate.toml:2:1: a secret with `source = "env"` needs `variable`, and nothing else
    /home/tollgate.toml:1:1: a secret with `source = "store"` needs nothing else: set its value with `tollgate secret set`
    /home/tollgate.toml:1:1: a secret with `source = "store"` needs nothing else: set its value with `tollgate secret set`
    /home/tollgate.toml:1:1: `variable` can't be an environment variable's name: use letters, digits and `_`
    /home/tollgate.toml:2:8: unknown variant `never`, expected one of `gated`, `always`, `interval`
    /home/tollgate.toml:3:1: duplicate key
    /home/tollgate.toml:1:5: unclosed table, expected `]`
    /home/tollgate.toml:1:11: unexpected key or value, expected newline, `#`
    "#);
}

#[test]
fn keys_are_read_and_what_is_none_is_not() {
    let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let text = format!(
        "[plugins]\nrequire_signature = true\nkeys = [{{ key = \"{key}\" }}, {{ key = \"{key}\", expires = \"2027-01-31T00:00:00Z\" }}]"
    );
    let trust = parse(&text).unwrap().trust;
    assert!(trust.required);
    let expires: Vec<_> = trust.keys.iter().map(|trusted| trusted.expires).collect();
    assert_eq!(expires, [None, Some(Duration::from_secs(1_801_353_600))]);
    assert_eq!(trust.keys[0].key.to_string(), key);
    assert_eq!(parse("").unwrap().trust, Trust::default());
    for (wrong_part, with) in [
        ("c74f20a3", "c74f20a4"),
        ("2027-01-31T00:00:00Z", "2027-01-31"),
        ("expires", "until"),
        ("true", "1"),
    ] {
        wrong(&text.replace(wrong_part, with));
    }
    let unkeyed = parse("[plugins]\nrequire_signature = true").unwrap();
    let found = unkeyed.findings(&BTreeMap::new());
    assert!(
        found[0].message.contains("no plugin can serve"),
        "{found:?}"
    );
}

#[test]
fn what_the_plugins_do_not_have_is_found() {
    use crate::plugin::Description;
    let config = parse(
        r#"
[server]
listen = "0.0.0.0:8787"
[plugin.gihub]
[plugin.jq.settings]
colour = "red"
[plugin.jq.tool.fliter]
[plugin.broken.tool.x]
[secret.jq.token]
source = "store"
[secret.gone.token]
source = "store"
[journal]
sync = "interval"
"#,
    )
    .unwrap();
    let jq = Description {
        plugin: "jq".parse().unwrap(),
        version: String::new(),
        summary: String::new(),
        tools: vec![],
        requirements: vec![],
    };
    let plugins = [
        (jq.plugin.clone(), Some(jq)),
        ("broken".parse().unwrap(), None),
    ]
    .into();
    let found: Vec<_> = config
        .findings(&plugins)
        .into_iter()
        .map(|f| format!("{}: {}", f.line, f.message))
        .collect();
    insta::assert_snapshot!(found.join("\n"), @r#"
    3: `0.0.0.0:8787` can be reached from other machines, and tokens go over it in the clear: set `tls`, put a TLS proxy in front, or listen on 127.0.0.1
    4: there is no plugin `gihub`: nothing in `[plugin.gihub]` has an effect
    6: the plugin `jq` asks for no setting `colour`
    7: the plugin `jq` has no tool `fliter`: nothing in `[plugin.jq.tool.fliter]` has an effect
    9: the plugin `jq` asks for no secret `token`
    11: there is no plugin `gone`: its secret `token` is never used
    14: with `sync = "interval"` a power failure loses records of effects that happened: use "gated"
    "#);
    assert_eq!(Config::default().findings(&BTreeMap::new()), []);
}

#[test]
fn a_home_without_a_file_has_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path()).unwrap();
    assert_eq!(Config::load(&home).unwrap(), Config::default());
    fs::write(home.config(), "[limits]\nfuel = 0").unwrap();
    assert!(matches!(
        Config::load(&home),
        Err(ConfigError::Wrong { line: 2, .. })
    ));
    fs::write(home.config(), b"\xff").unwrap();
    assert!(matches!(Config::load(&home), Err(ConfigError::Read { .. })));
}
