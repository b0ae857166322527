//! `tollgate plugins key` and `sign`: for whoever vouches for components, on a machine of theirs.

use std::path::{Path, PathBuf};

use serde_json::json;
use zeroize::Zeroizing;

use super::exit::Exit;
use super::fault::Fault;
use super::printer::Printer;
use crate::digest::Digest;
use crate::entropy::{Entropy as _, SystemEntropy};
use crate::name::PluginName;
use crate::plugin::read_component;
use crate::plugin::signature::{Signer, Statement};
use crate::private;

/// Bytes of a key's file; one has about 200.
const MOST: u64 = 1 << 10;

/// Makes a key: the part that signs goes into a file for its owner, the part that verifies is printed.
pub(super) fn key(name: &str, out: Option<PathBuf>, printer: &mut Printer) -> Result<Exit, Fault> {
    let mut seed = Zeroizing::new([0; 32]);
    SystemEntropy.fill(&mut *seed)?;
    let wrong = |_| {
        Fault::invalid(format!("`{}` can't be a key's name", name.escape_default()))
            .hint("use 1 to 128 letters, digits and signs, without `+` and spaces")
    };
    let signer = Signer::new(name, &seed).map_err(wrong)?;
    let text = Signer::private(name, &seed).map_err(wrong)?;
    let path = out.unwrap_or_else(|| PathBuf::from(format!("{name}.key")));
    if path.exists() {
        return Err(Fault::new(
            Exit::Conflict,
            format!("`{}` is there already", path.display()),
        )
        .hint("a key that is lost can't be made again: name another file with `--out FILE`"));
    }
    private::replace(&path, format!("{}\n", *text).as_bytes())?;
    if printer.is_json() {
        printer.object(
            "key",
            &json!({"key": signer.key().to_string(), "file": path}),
        )?;
    } else {
        printer.line(&signer.key().to_string())?;
    }
    printer.say(&format!(
        "`{}` signs: keep it away from the host",
        path.display()
    ));
    printer.hint("put the line above into `[plugins]` as `keys = [{ key = \"...\" }]`");
    Ok(Exit::Ok)
}

/// Signs a component: `<file>.sig`.
pub(super) fn sign(
    file: &Path,
    key: &Path,
    version: u64,
    name: Option<PluginName>,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let plugin = match name {
        Some(name) => name,
        None => file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .parse()
            .map_err(|error: crate::name::ParseNameError| {
                Fault::invalid(error.to_string())
                    .hint("name what it serves under with `--name NAME`")
            })?,
    };
    let text = private::read(key, MOST)?;
    let signer = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| Signer::parse(text).ok())
        .ok_or_else(|| {
            Fault::invalid(format!("`{}` is no key that signs", key.display()))
                .hint("`tollgate plugins key NAME` makes one")
        })?;
    let bytes = read_component(file)
        .map_err(|refusal| Fault::invalid(format!("`{}`: {refusal}", file.display())))?;
    let statement = Statement {
        plugin,
        component: Digest::of(&bytes),
        version,
    };
    let mut path = file.as_os_str().to_owned();
    path.push(".sig");
    let path = PathBuf::from(path);
    std::fs::write(&path, statement.sign(&signer))
        .map_err(|error| Fault::of(&error).context(&format!("can't write `{}`", path.display())))?;
    if printer.is_json() {
        let line = json!({
            "plugin": statement.plugin, "component": statement.component,
            "version": version, "key": signer.key().to_string(), "file": path,
        });
        printer.object("signed", &line)?;
    }
    printer.say(&format!(
        "signed as version {version} of `{}`: `{}` goes beside it into `plugins/`",
        statement.plugin,
        path.display()
    ));
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::args::Format;
    use crate::plugin::signature::check;
    use crate::plugin::{Trust, TrustedKey};

    #[test]
    fn what_is_signed_here_is_trusted_there() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, file) = (
            folder.path().join("acme.key"),
            folder.path().join("notes.wasm"),
        );
        let (mut printer, out, _) = Printer::buffers(Format::Human);
        key("acme", Some(secret.clone()), &mut printer).unwrap();
        assert_eq!(
            key("acme", Some(secret.clone()), &mut printer)
                .unwrap_err()
                .exit,
            Exit::Conflict
        );
        std::fs::write(&file, b"component").unwrap();
        sign(&file, &secret, 7, None, &mut printer).unwrap();
        let note = std::fs::read_to_string(folder.path().join("notes.wasm.sig")).unwrap();
        let trust = Trust {
            keys: vec![TrustedKey {
                key: out.text().trim_end().parse().unwrap(),
                expires: None,
            }],
            required: true,
        };
        let plugin = "notes".parse().unwrap();
        let digest = Digest::of(b"component");
        let signed = check(&trust, &plugin, digest, Some(&note), Duration::ZERO).unwrap();
        assert_eq!(signed.unwrap().version, 7);
    }

    #[test]
    fn what_is_no_key_signs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (mut printer, ..) = Printer::buffers(Format::Human);
        assert!(key("a+b", Some(folder.path().join("k")), &mut printer).is_err());
        let (file, wrong) = (
            folder.path().join("notes.wasm"),
            folder.path().join("wrong"),
        );
        std::fs::write(&file, b"component").unwrap();
        private::replace(&wrong, b"nothing").unwrap();
        assert!(sign(&file, &wrong, 1, None, &mut printer).is_err());
        assert!(!folder.path().join("notes.wasm.sig").exists());
    }
}
