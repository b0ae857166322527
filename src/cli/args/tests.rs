use clap::CommandFactory as _;

use super::*;
use crate::clock::lifetime;

#[test]
fn the_definitions_hold_together() {
    Cli::command().debug_assert();
}

#[test]
fn what_the_documentation_shows_can_be_typed() {
    for line in [
        "serve",
        "serve --quickstart",
        "serve --listen 127.0.0.1:0 --home /srv",
        "serve --listen unix:/run/tollgate/mcp.sock",
        "client add claude",
        "client add cursor --agent builder --project --replace",
        "client add codex --http https://tools.example/mcp --token-variable TOLLGATE_TOKEN",
        "client print vscode --name tools --task task_aaaaaaaaaaaaaaaa",
        "serve --stdio --agent claude",
        "call jq_run {} --agent claude",
        "call jq.run - --format json",
        "plugins",
        "plugins inspect fetch",
        "plugins key acme --out acme.key",
        "plugins sign fetch.wasm --key acme.key --version 7 --name fetch",
        "plugins diff",
        "plugins diff fetch --format json",
        "plugins accept fetch",
        "plugins accept fetch --yes --component sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "policy init fetch --write",
        "policy explain fetch_page {} --agent claude --host-call clock",
        "policy schema",
        "policy test",
        "check --format json -q",
        "check --zero-standing",
        "serve --stdio --agent claude --task task_aaaaaaaaaaaaaaaa",
        "call jq_run {} --task task_aaaaaaaaaaaaaaaa",
        "policy explain fetch_page {} --agent claude --task research --label private",
        "task start --agent claude --user ada --intent triage --tool github.* --tool jq.run --arg github.comment:/number=7 --budget calls=10 --budget github.comment:calls=1 --for 30m",
        "task show task_aaaaaaaaaaaaaaaa",
        "task list --agent claude --all",
        "task end task_aaaaaaaaaaaaaaaa --why done",
        "revoke agent claude",
        "revoke all",
        "revoke --lift",
        "revoke --lift agent spiffe://elsewhere/agent/a",
        "agent add claude --ttl 30d",
        "agent list",
        "agent remove claude",
        "approvals list --all",
        "approvals show approval_aaaaaaaaaaaaaaaa --format json",
        "approvals approve approval_aaaaaaaaaaaaaaaa --standing 2h --credential /run/me",
        "approvals deny approval_aaaaaaaaaaaaaaaa --why no",
        "approvals watch",
        "person add ada --admin --ttl 30d",
        "person add ada@example.org --credential /run/me",
        "person list",
        "person rotate ada",
        "person remove ada --credential /run/me",
        "secret set github token",
        "secret list",
        "secret rm github token",
        "audit tail -n 5 -f --agent claude --tool fetch --kind refusal",
        "audit show 0000cafe",
        "audit verify",
        "leases",
        "leases --pending",
        "reload -v",
        "status",
        "stop",
        "compile-component",
    ] {
        let words = std::iter::once("tollgate").chain(line.split(' '));
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    for line in [
        "serve --stdio",
        "serve --agent claude",
        "serve --stdio --agent claude --listen 127.0.0.1:0",
        "serve --stdio --agent claude --quickstart",
        "secret set github token value",
        "plugins accept fetch --component ba7816bf",
        "call",
        "agent add Claude",
        "person add spiffe://x/agent/a",
        "approvals approve all",
        "approvals approve",
        "check -q -v",
        "help",
    ] {
        let words = std::iter::once("tollgate").chain(line.split(' '));
        assert!(Cli::try_parse_from(words).is_err(), "{line}");
    }
}

#[test]
fn a_lifetime_is_a_number_and_a_unit() {
    assert_eq!(lifetime("30d"), Ok(Duration::from_secs(2_592_000)));
    assert_eq!(lifetime("90s"), Ok(Duration::from_secs(90)));
    for text in [
        "",
        "d",
        "30",
        "-1d",
        "1.5h",
        "0d",
        "99999999999999999999d",
        "1y",
        "1 d",
        "1é",
    ] {
        assert!(lifetime(text).is_err(), "{text}");
    }
}

#[test]
fn the_help_of_the_main_command() {
    let help = Cli::command().render_help().to_string();
    insta::assert_snapshot!(help, @r#"
    Serves sandboxed, policy-governed tools to agents over MCP

    Usage: tollgate [OPTIONS] <COMMAND>

    Commands:
      serve      Serve the plugins to agents, over HTTP and to local clients
      call       Call a tool from here: the same policy, limits and journal as an agent's call
      plugins    List the plugins and where each stands
      policy     Write, explain and test policies
      check      Check configuration, policies, entities, plugins, cases and secrets; needs no daemon
      agent      Add, list and remove agents; rotate their tokens
      client     Put this host into the configuration of a client, such as Claude Code or Cursor
      token      Make tokens for one step and hand-offs, and narrow them
      task       Start, show, list and end tasks of agents
      revoke     Take power back at once: calls under way are stopped
      approvals  See what waits for a person, and answer it
      person     Add, list, renew and remove the people who approve and administer
      secret     Set, list and remove secrets
      leases     List what is lent to calls and tasks, and what waits to be taken back
      audit      Read and verify the journal
      backup     Copy state and journal into a folder, while the daemon serves or not
      restore    Put a backup back; nothing runs then until `tollgate revoke --lift`
      replay     Run a call again on its tape, with no reach, and say whether the same comes out
      reload     Make the daemon take in what changed on disk, and say what it found
      status     Say what the daemon is doing
      stop       End the daemon; calls under way are finished first

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version

    Global options:
          --home <DIR>       The folder with `tollgate.toml`, `plugins/`, `policies/` and `state/`
                             [default: the current one] [env: TOLLGATE_HOME]
          --format <FORMAT>  How data is printed: for people, or as JSON lines that carry `"v":1`
                             [default: human] [possible values: human, json]
          --color <WHEN>     When output is coloured; `NO_COLOR` is honoured [default: auto] [possible
                             values: auto, always, never]
      -q, --quiet            Print data and errors only
      -v, --verbose...       Log more; twice for even more

    Exit codes:
      0  done, or the tool's own success
      1  the tool failed, ran into a limit, or the command could not do its work
      2  refused, by policy or by the host, or held for a person
      3  invalid: usage, arguments of a tool, configuration, policies, cases
      4  the daemon is not there, can't be started or does not answer
      5  something is there already: another daemon, an agent of that name, a file
      6  the journal is not what was written, or a tape is not
      7  a replay went another way than its call
    "#);
}
