//! Compiled code, made once and shared: a copy of it stands in each test's home.
//!
//! It is kept between runs under the target folder; what it is keyed by (the component's digest and
//! the engine's settings) and its MAC make an outdated one harmless: it is compiled again.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use tokio::sync::OnceCell;
use tollgate::clock::SystemClock;
use tollgate::digest::Digest;
use tollgate::entropy::SystemEntropy;
use tollgate::home::Home;
use tollgate::host::{Host, Options};

use super::{place, program};

/// The same in every home of these tests, so that one home's code loads in another.
const KEY: [u8; 32] = [0x42; 32];

/// One cell for each component, by its digest: whoever comes first compiles it.
type Cells = Mutex<HashMap<Digest, Arc<OnceCell<()>>>>;
static MADE: LazyLock<Cells> = LazyLock::new(Mutex::default);

fn shared() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("it-artifacts")
}

/// Gives `home` the key and the compiled code of `plugins`.
pub(super) async fn seed(home: &Home, plugins: &[(String, Vec<u8>)]) {
    key(home);
    for (_, bytes) in plugins {
        // Others are refused before they are compiled, or are there to be refused by the compiler.
        if bytes.len() < 10_000 || !bytes.starts_with(b"\0asm\x0d\0\x01\0") {
            continue;
        }
        let digest = Digest::of(bytes);
        let cell = MADE.lock().unwrap().entry(digest).or_default().clone();
        cell.get_or_init(|| compile(digest, bytes)).await;
        for file in of(digest) {
            copy(&file, &home.artifacts().join(file.file_name().unwrap()));
        }
    }
}

fn key(home: &Home) {
    let path = home.keys().join("artifacts.key");
    fs::write(&path, KEY).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn of(digest: Digest) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(shared()) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(&digest.hex()) && name.ends_with(".cwasm")
        })
        .collect()
}

/// Has a host compile the component, in a home that holds nothing else.
async fn compile(digest: Digest, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path()).unwrap();
    home.create().unwrap();
    key(&home);
    for file in of(digest) {
        copy(&file, &home.artifacts().join(file.file_name().unwrap()));
    }
    // Whatever is wrong with it, its own test says so.
    place(&home.plugins().join("guest.wasm"), bytes);
    let options = Options {
        home: home.clone(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        compiler: program(),
        ..Options::new(home.clone()).unwrap()
    };
    let host = Host::start(options).await.unwrap();
    host.stop().await;
    fs::create_dir_all(shared()).unwrap();
    for entry in fs::read_dir(home.artifacts()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "cwasm")
        {
            copy(&path, &shared().join(path.file_name().unwrap()));
        }
    }
}

/// A copy that is there whole or not at all, for its owner only.
fn copy(from: &Path, to: &Path) {
    let bytes = fs::read(from).unwrap();
    let temporary = to.with_extension(format!("{}.tmp", uuid::Uuid::now_v7()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
    fs::rename(&temporary, to).unwrap();
}
