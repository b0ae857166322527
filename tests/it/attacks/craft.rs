//! Components by a name, a text or a rule, and what only pretends to be one.

use anyhow::{Context as _, Result, ensure};

use super::case::Dropped;

impl Dropped {
    /// Its bytes.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = component(&self.load)?;
        for (from, to) in &self.patch {
            patch(&mut bytes, from.as_bytes(), to.as_bytes())?;
        }
        Ok(bytes)
    }
}

/// Writes over the one place that holds `from`: a text of a component is changed, and nothing moves.
fn patch(bytes: &mut [u8], from: &[u8], to: &[u8]) -> Result<()> {
    ensure!(from.len() == to.len(), "a patch changes no length");
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from)
        .map(|(at, _)| at)
        .collect();
    let [at] = places[..] else {
        anyhow::bail!("{} places hold what is to be patched", places.len());
    };
    bytes[at..at + to.len()].copy_from_slice(to);
    Ok(())
}

fn component(what: &str) -> Result<Vec<u8>> {
    use guests::crafted;
    let (kind, rest) = what.split_once(':').unwrap_or((what, ""));
    Ok(match kind {
        "misfit" => {
            let (_, path) = guests::MISFITS
                .iter()
                .find(|(name, _)| *name == rest)
                .with_context(|| format!("no misfit `{rest}`"))?;
            std::fs::read(path)?
        }
        "probe" => std::fs::read(guests::PROBE)?,
        "liar" => std::fs::read(guests::LIAR)?,
        "wat" => wat::parse_str(rest)?,
        "hex" => hex::decode(rest)?,
        "pathological" => pathological(),
        "crafted" => match rest {
            "garbage" => crafted::garbage(),
            "core_module" => crafted::core_module(),
            "empty" => crafted::empty(),
            "truncated" => crafted::truncated(),
            "imports_sockets" => crafted::imports_sockets(),
            "imports_filesystem" => crafted::imports_filesystem(),
            "imports_wasi_http" => crafted::imports_wasi_http(),
            "imports_wall_clock" => crafted::imports_wall_clock(),
            "imports_unknown" => crafted::imports_unknown(),
            "describe_loops" => crafted::describe_loops(),
            "describe_traps" => crafted::describe_traps(),
            "describe_not_utf8" => crafted::describe_not_utf8(),
            "describe_out_of_bounds" => crafted::describe_out_of_bounds(),
            "start_loops" => crafted::start_loops(),
            "start_traps" => crafted::start_traps(),
            "huge_memory" => crafted::huge_memory(),
            "huge_table" => crafted::huge_table(),
            "grows_table" => crafted::grows_table(),
            other => anyhow::bail!("nothing crafted is named `{other}`"),
        },
        other => anyhow::bail!("no such kind of component: `{other}`"),
    })
}

/// Code that is small to write and much to compile: many functions of deeply nested blocks.
fn pathological() -> Vec<u8> {
    let depth = 200;
    let body = format!(
        "{} (local.set 0 (i32.add (local.get 0) (i32.const 1))) {}",
        "(block (br_if 0 (local.get 0)) ".repeat(depth),
        ")".repeat(depth)
    );
    let functions = format!("(func (param i32) {body})").repeat(200);
    wat::parse_str(format!("(component (core module {functions}))")).unwrap()
}
