//! The home that the formats are tested with, as the first host wrote it.

use std::fs;
use std::path::PathBuf;

use tollgate::journal::note::VerifierKey;

pub fn path(name: &str) -> PathBuf {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/../formats/home-1");
    PathBuf::from(here).join(name)
}

pub fn read(name: &str) -> Vec<u8> {
    let path = path(name);
    fs::read(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

/// The key of its log.
pub fn key() -> VerifierKey {
    let text = String::from_utf8(read("state/journal/log.pub")).expect("text");
    text.trim_end().parse().expect("a key")
}
