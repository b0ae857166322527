//! What the guests import, as their bytes say.

use std::collections::BTreeSet;
use std::fs;

use guests::crafted;
use wasmparser::{Encoding, Parser, Payload, Validator};

/// What the host offers; anything else is refused when a plugin is loaded.
const ALLOWED: [&str; 23] = [
    "tollgate:plugin/types@0.1.0",
    "tollgate:plugin/http@0.1.0",
    "tollgate:plugin/secrets@0.1.0",
    "tollgate:plugin/settings@0.1.0",
    "tollgate:plugin/log@0.1.0",
    "tollgate:plugin/progress@0.1.0",
    "tollgate:plugin/client@0.1.0",
    "tollgate:plugin/clock@0.1.0",
    "tollgate:plugin/random@0.1.0",
    "wasi:cli/environment@0.2.6",
    "wasi:cli/exit@0.2.6",
    "wasi:cli/stdin@0.2.6",
    "wasi:cli/stdout@0.2.6",
    "wasi:cli/stderr@0.2.6",
    "wasi:cli/terminal-input@0.2.6",
    "wasi:cli/terminal-output@0.2.6",
    "wasi:cli/terminal-stdin@0.2.6",
    "wasi:cli/terminal-stdout@0.2.6",
    "wasi:cli/terminal-stderr@0.2.6",
    "wasi:io/error@0.2.6",
    "wasi:io/poll@0.2.6",
    "wasi:io/streams@0.2.6",
    "wasi:clocks/monotonic-clock@0.2.6",
];

/// `wasi:random`, whose interfaces are all inert.
const ALLOWED_RANDOM: [&str; 3] = [
    "wasi:random/random@0.2.6",
    "wasi:random/insecure@0.2.6",
    "wasi:random/insecure-seed@0.2.6",
];

/// The names that a component imports and exports.
fn surface(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    Validator::new()
        .validate_all(bytes)
        .expect("the component is valid");
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.expect("the component parses") {
            Payload::Version { encoding, .. } => {
                assert!(
                    depth > 0 || encoding == Encoding::Component,
                    "it is a component"
                );
                depth += 1;
            }
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                imports.extend(
                    section
                        .into_iter()
                        .map(|import| import.expect("the import parses").name.name.to_owned()),
                );
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                exports.extend(
                    section
                        .into_iter()
                        .map(|export| export.expect("the export parses").name.name.to_owned()),
                );
            }
            _ => {}
        }
    }
    (imports, exports)
}

fn built() -> Vec<(&'static str, &'static str)> {
    let mut all = vec![
        ("probe", guests::PROBE),
        ("liar", guests::LIAR),
        ("conformance", guests::CONFORMANCE),
    ];
    all.extend_from_slice(guests::PLUGINS);
    all.extend_from_slice(guests::MISFITS);
    all
}

#[test]
fn no_built_guest_imports_what_the_host_does_not_offer() {
    for (name, path) in built() {
        let (imports, exports) = surface(&fs::read(path).expect("the component is there"));
        let further: &[&str] = match name {
            "conformance" => &["prompts", "resources", "completion", "questions", "jobs"],
            "probe" => &["jobs"],
            _ => &[],
        };
        let offered: BTreeSet<_> = ["tools"]
            .iter()
            .chain(further)
            .map(|offer| format!("tollgate:plugin/{offer}@0.1.0"))
            .collect();
        let exports: BTreeSet<_> = exports.into_iter().collect();
        assert_eq!(exports, offered, "what `{name}` exports");
        for import in imports {
            assert!(
                ALLOWED.contains(&import.as_str()) || ALLOWED_RANDOM.contains(&import.as_str()),
                "`{name}` imports `{import}`"
            );
        }
    }
}

#[test]
fn the_probe_reaches_for_every_capability() {
    let (imports, _) = surface(&fs::read(guests::PROBE).expect("the component is there"));
    for capability in [
        "http", "secrets", "settings", "log", "progress", "clock", "random",
    ] {
        assert!(
            imports.contains(&format!("tollgate:plugin/{capability}@0.1.0")),
            "{capability}"
        );
    }
}

#[test]
fn a_misfit_imports_no_capability_and_the_liar_imports_http() {
    let capabilities = |path: &str| -> Vec<String> {
        let (imports, _) = surface(&fs::read(path).expect("the component is there"));
        imports
            .into_iter()
            .filter(|name| name.starts_with("tollgate:") && !name.contains("/types@"))
            .collect()
    };
    assert_eq!(capabilities(guests::MISFIT_PLAIN), Vec::<String>::new());
    assert!(capabilities(guests::LIAR).contains(&"tollgate:plugin/http@0.1.0".to_owned()));
}

#[test]
fn each_misfit_is_a_component_of_its_own() {
    let mut seen = BTreeSet::new();
    for (kind, path) in guests::MISFITS {
        let bytes = fs::read(path).expect("the component is there");
        let mark = format!("misfit-kind:{kind:-<20}");
        assert!(
            bytes
                .windows(mark.len())
                .any(|window| window == mark.as_bytes()),
            "{kind}"
        );
        assert!(seen.insert(bytes), "{kind}");
    }
}

#[test]
fn crafted_plugins_import_what_they_are_named_for() {
    let cases: [(Vec<u8>, &[&str]); 11] = [
        (crafted::imports_sockets(), &["wasi:sockets/tcp@0.2.6"]),
        (
            crafted::imports_filesystem(),
            &["wasi:filesystem/types@0.2.6"],
        ),
        (
            crafted::imports_wasi_http(),
            &["wasi:http/outgoing-handler@0.2.6"],
        ),
        (
            crafted::imports_wall_clock(),
            &["wasi:clocks/wall-clock@0.2.6"],
        ),
        (
            crafted::imports_unknown(),
            &["example:backdoor/shell@1.0.0"],
        ),
        (crafted::describe_loops(), &[]),
        (crafted::describe_traps(), &[]),
        (crafted::start_traps(), &[]),
        (crafted::describe_out_of_bounds(), &[]),
        (crafted::huge_memory(), &[]),
        (crafted::grows_table(), &[]),
    ];
    for (bytes, expected) in cases {
        let (mut imports, exports) = surface(&bytes);
        imports.retain(|name| name != "tollgate:plugin/types@0.1.0");
        assert_eq!(imports, expected);
        assert_eq!(exports, ["tollgate:plugin/tools@0.1.0"]);
    }
}

#[test]
fn broken_ones_are_broken() {
    for bytes in [crafted::garbage(), crafted::truncated()] {
        assert!(Validator::new().validate_all(&bytes).is_err());
    }
    assert!(Parser::is_core_wasm(&crafted::core_module()));
    assert!(Parser::is_component(&crafted::empty()));
}
