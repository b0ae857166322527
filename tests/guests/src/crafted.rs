//! Components that no compiler would make, as bytes: broken ones, and plugins with one part written by hand.
//!
//! Those that are plugins export all of the contract with its exact types, so that what is refused is what is wrong.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Bytes that are nothing.
#[must_use]
pub fn garbage() -> Vec<u8> {
    b"\x7fELF this is no component at all".to_vec()
}

/// A core module, which is not a component.
#[must_use]
pub fn core_module() -> Vec<u8> {
    parse("(module (func (export \"describe\")))")
}

/// A component without imports and exports.
#[must_use]
pub fn empty() -> Vec<u8> {
    parse("(component)")
}

/// The first half of a component.
#[must_use]
pub fn truncated() -> Vec<u8> {
    let mut component = describe_loops();
    component.truncate(component.len() / 2);
    component
}

/// A plugin that imports `wasi:sockets/tcp`.
#[must_use]
pub fn imports_sockets() -> Vec<u8> {
    importing("wasi:sockets", "tcp", "0.2.6")
}

/// A plugin that imports `wasi:filesystem/types`.
#[must_use]
pub fn imports_filesystem() -> Vec<u8> {
    importing("wasi:filesystem", "types", "0.2.6")
}

/// A plugin that imports `wasi:http/outgoing-handler`.
#[must_use]
pub fn imports_wasi_http() -> Vec<u8> {
    importing("wasi:http", "outgoing-handler", "0.2.6")
}

/// A plugin that imports `wasi:clocks/wall-clock`.
#[must_use]
pub fn imports_wall_clock() -> Vec<u8> {
    importing("wasi:clocks", "wall-clock", "0.2.6")
}

/// A plugin that imports an interface nobody has heard of.
#[must_use]
pub fn imports_unknown() -> Vec<u8> {
    importing("example:backdoor", "shell", "1.0.0")
}

/// A plugin whose `describe` never returns.
#[must_use]
pub fn describe_loops() -> Vec<u8> {
    plugin("", "(loop $again (br $again)) unreachable")
}

/// A plugin whose `describe` traps.
#[must_use]
pub fn describe_traps() -> Vec<u8> {
    plugin("", "unreachable")
}

/// A plugin that traps before anything is called.
#[must_use]
pub fn start_traps() -> Vec<u8> {
    plugin("(func $start unreachable) (start $start)", "unreachable")
}

/// A plugin that loops before anything is called.
#[must_use]
pub fn start_loops() -> Vec<u8> {
    plugin(
        "(func $start (loop $again (br $again))) (start $start)",
        "unreachable",
    )
}

/// A plugin whose `describe` says that its result is where there is no memory.
#[must_use]
pub fn describe_out_of_bounds() -> Vec<u8> {
    plugin("", "i32.const 0x7ffffff0")
}

/// A plugin whose `describe` gives texts that are not UTF-8: the whole result is bytes of `0xff`.
#[must_use]
pub fn describe_not_utf8() -> Vec<u8> {
    // The first field is a text: address 4096, length 16, over bytes that are not UTF-8.
    plugin(
        "(data (i32.const 1024) \"\\00\\10\\00\\00\\10\\00\\00\\00\") (data (i32.const 4096) \"\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\")",
        "i32.const 1024",
    )
}

/// A plugin that starts with a memory of 4 GiB.
#[must_use]
pub fn huge_memory() -> Vec<u8> {
    craft("", "", "", 65_536, "", "unreachable")
}

/// A plugin that starts with a table of a hundred million elements.
#[must_use]
pub fn huge_table() -> Vec<u8> {
    plugin("(table 100000000 funcref)", "unreachable")
}

/// A plugin whose `describe` asks for a table of a hundred million elements: it traps where that is refused, and
/// loops for ever where it is not.
#[must_use]
pub fn grows_table() -> Vec<u8> {
    plugin(
        "(table $table 0 funcref)",
        "(if (i32.eq (table.grow $table (ref.null func) (i32.const 100000000)) (i32.const -1)) (then unreachable))
         (loop $again (br $again)) unreachable",
    )
}

/// A plugin that imports an interface of that package, by way of a function that the host need not know.
fn importing(package: &str, interface: &str, version: &str) -> Vec<u8> {
    let name = format!("{package}/{interface}@{version}");
    let world = format!("import {name};");
    let definition =
        format!("package {package}@{version} {{ interface {interface} {{ probe: func(); }} }}");
    let import = format!("(import \"{name}\" \"probe\" (func $probe))");
    craft(
        &world,
        &definition,
        &import,
        1,
        "",
        "(call $probe) unreachable",
    )
}

fn plugin(parts: &str, describe: &str) -> Vec<u8> {
    craft("", "", "", 1, parts, describe)
}

/// A plugin around a core module: what it imports beside the contract, the size of its memory, further parts, and what
/// its `describe` does. Its `call` traps.
fn craft(
    world: &str,
    packages: &str,
    imports: &str,
    pages: u32,
    parts: &str,
    describe: &str,
) -> Vec<u8> {
    let mut module = parse(&format!(
        "(module
            {imports}
            (memory (export \"memory\") {pages})
            {parts}
            (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) i32.const 8192)
            (func (export \"tollgate:plugin/tools@0.1.0#describe\") (result i32) {describe})
            (func (export \"tollgate:plugin/tools@0.1.0#call\")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable))"
    ));
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    resolve.push_dir(&wit).expect("the contract parses");
    let source = format!(
        "package tollgate:crafted; world crafted {{ {world} export tollgate:plugin/tools@0.1.0; }} {packages}"
    );
    let package = resolve
        .push_str("crafted.wit", &source)
        .expect("the world parses");
    let world = resolve
        .select_world(&[package], Some("crafted"))
        .expect("the world is there");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("the world can be written down");
    ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.validate(true).encode())
        .expect("the module keeps to the world")
}

fn parse(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text parses")
}
