//! The keys that sign checkpoints: one for each segment, destroyed when the segment ends.
//!
//! Whoever steals the key of today can sign another end of today's segment, and nothing older: the
//! keys of older segments are gone. A key lies in a file for its owner alone, in the form that
//! `note.GenerateKey` of Go gives (`PRIVATE+KEY+<name>+<id>+<base64>`), and is overwritten before
//! another takes its name. (What a file system that never overwrites in place, or a disk that moves
//! its blocks, keeps of it is beyond a program's reach; SECURITY.md says so.)

use std::io::{self, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::note::{Signer, VerifierKey};
use super::storage::{Name, Storage, if_there, write_all};
use crate::entropy::Entropy;

/// Bytes of a key's file: the name is an origin, of at most 100.
const MOST: usize = 1024;
/// What the text of a private key starts with.
const PRIVATE: &str = "PRIVATE+KEY+";
/// Letters of this machine's name in an origin.
const HOST: usize = 64;

/// The name of a new log: the machine's, and 64 random bits, so that no two logs share one.
pub(super) fn new_origin(entropy: &dyn Entropy) -> io::Result<String> {
    let mut id = [0; 8];
    entropy.fill(&mut id).map_err(io::Error::other)?;
    let system = rustix::system::uname();
    let host = host_part(&system.nodename().to_string_lossy());
    Ok(format!("{host}/tollgate/{}", hex::encode(id)))
}

/// What a name of a key, a URL and a terminal all take as it is.
fn host_part(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .take(HOST)
        .collect();
    if host.is_empty() {
        String::from("host")
    } else {
        host
    }
}

/// A new key for the log `origin`.
pub(super) fn generate(origin: &str, entropy: &dyn Entropy) -> io::Result<Signer> {
    Signer::generate(origin, entropy).map_err(io::Error::other)
}

/// Puts a key where there is none; it is on the disk when this returns.
pub(super) fn keep(storage: &dyn Storage, name: Name, signer: &Signer) -> io::Result<()> {
    let file = storage.create(name)?;
    write_all(&*file, private_text(signer).as_bytes())?;
    file.sync()?;
    storage.sync_names()
}

/// The key in the file `name`; `None` where there is none, or what is there is no key: one that was
/// not written to its end, or was wiped.
pub(super) fn load(storage: &dyn Storage, name: Name) -> io::Result<Option<Signer>> {
    let reader = match storage.reader(name, 0) {
        Ok(reader) => reader,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MOST));
    reader.take(MOST as u64).read_to_end(&mut bytes)?;
    Ok(str::from_utf8(&bytes).ok().and_then(of_text))
}

/// Destroys the key, and puts the next one in its place.
pub(super) fn hand_over(storage: &dyn Storage) -> io::Result<()> {
    if_there(storage.wipe(Name::Key))?;
    storage.rename(Name::NextKey, Name::Key)?;
    storage.sync_names()
}

/// Destroys a next key that was never used.
pub(super) fn discard_next(storage: &dyn Storage) -> io::Result<()> {
    storage.wipe(Name::NextKey)?;
    storage.remove(Name::NextKey)?;
    storage.sync_names()
}

fn private_text(signer: &Signer) -> Zeroizing<String> {
    let mut key = Zeroizing::new(Vec::with_capacity(33));
    // The type of the key: plain Ed25519.
    key.push(0x01);
    key.extend_from_slice(signer.to_bytes().as_slice());
    let encoded = Zeroizing::new(STANDARD.encode(&*key));
    let public = signer.verifier().to_string();
    let mut text = Zeroizing::new(String::with_capacity(MOST));
    text.push_str(PRIVATE);
    let (name, id) = name_and_id(&public).unwrap_or_default();
    text.push_str(name);
    text.push('+');
    text.push_str(id);
    text.push('+');
    text.push_str(&encoded);
    text.push('\n');
    text
}

fn of_text(text: &str) -> Option<Signer> {
    let text = text.strip_suffix('\n')?.strip_prefix(PRIVATE)?;
    let (name, id) = name_and_id(text)?;
    let encoded = text.get(name.len() + id.len() + 2..)?;
    let bytes = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let (kind, key) = bytes.split_first()?;
    if *kind != 0x01 {
        return None;
    }
    let key = Zeroizing::new(<[u8; 32]>::try_from(key).ok()?);
    let signer = Signer::from_bytes(name, &key).ok()?;
    // The four bytes of the id show a file that was damaged.
    let public = signer.verifier().to_string();
    let is_whole = name_and_id(&public) == Some((name, id));
    is_whole.then_some(signer)
}

/// The first two parts of a key. The third has the sign that divides them among its letters.
fn name_and_id(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('+')?;
    let (id, _) = rest.split_once('+')?;
    Some((name, id))
}

/// Whether `signer` is the one that verifies as `key`.
pub(super) fn is(signer: Option<&Signer>, key: &VerifierKey) -> bool {
    signer.is_some_and(|signer| signer.verifier() == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn a_key_is_read_back_and_a_damaged_one_is_none() {
        let signer = generate("h/tollgate/1", &SeededEntropy::default()).unwrap();
        let text = private_text(&signer);
        assert!(text.starts_with("PRIVATE+KEY+h/tollgate/1+"), "{}", &*text);
        let again = of_text(&text).unwrap();
        assert_eq!(again.verifier(), signer.verifier());
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'B' { b'C' } else { b'B' };
            let damaged = String::from_utf8(bytes).unwrap();
            assert!(of_text(&damaged).is_none(), "{damaged}");
            assert!(of_text(text.get(..at).unwrap()).is_none(), "{at}");
        }
        assert!(of_text(&"\0".repeat(text.len())).is_none());
    }

    /// Of the letters of base64 one is the sign that divides the parts.
    #[test]
    fn every_key_is_read_back() {
        let entropy = SeededEntropy::default();
        let mut with_sign = 0;
        for _ in 0..200 {
            let signer = generate("h/tollgate/1", &entropy).unwrap();
            let text = private_text(&signer);
            with_sign += usize::from(text.matches('+').count() > 4);
            let again = of_text(&text).unwrap();
            assert_eq!(again.verifier(), signer.verifier());
        }
        assert!(with_sign > 20, "{with_sign}");
    }

    #[test]
    fn an_origin_is_a_name_of_a_key_whatever_the_machine_is_called() {
        for name in ["", "a b", "h\u{f6}st+1", "x".repeat(300).as_str()] {
            let host = host_part(name);
            assert!(!host.is_empty() && host.len() <= HOST);
            assert!(generate(&host, &SeededEntropy::default()).is_ok(), "{host}");
        }
        let entropy = SeededEntropy::default();
        assert_ne!(new_origin(&entropy).unwrap(), new_origin(&entropy).unwrap());
    }
}
