//! Compiled code on disk: made once per digest, in a bounded child process, and authenticated.
//!
//! Compiled code is trusted absolutely when it is loaded, so none is loaded that this host did not
//! make: each file carries a MAC under a key that only the host's user can read, over the bytes,
//! the digest of the component and the engine's settings. A file is read once, into one buffer, and
//! both verified and loaded from there; anything else would be a race. What a component said of itself
//! is kept in the same way, so that each is asked once. Compiling is the part of the
//! host that is easiest to exhaust, so it happens in a child with limits on memory and time.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::described::{self, Said};
use crate::digest::Digest;
use crate::reason::{Reason, Refusal};

/// The largest component that is compiled: CPython with its library is 18 MB.
pub const MAX_COMPONENT: usize = 64 << 20;

/// How long a compile may take; 18 MB take 7 s on two cores.
const MAX_COMPILE: Duration = Duration::from_secs(180);

/// Address space of the compile child. The 18 MB component takes 1.5 GiB.
const MAX_COMPILE_MEMORY: u64 = 6 << 30;

/// The compiled form may be this many times as large as the component, and no larger.
const MAX_GROWTH: usize = 16;

/// Bytes of a MAC (BLAKE3, keyed).
const MAC: usize = 32;

/// What is kept of a component.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Its compiled form.
    Code,
    /// What it said of itself.
    Description,
}

/// Where compiled code is kept, and what makes it.
#[derive(Debug)]
pub struct Artifacts {
    folder: PathBuf,
    key: [u8; 32],
    compiler: PathBuf,
}

impl Artifacts {
    /// Compiled code in `folder`, under `key`; made by running `compiler compile-component`, which
    /// is this program.
    #[must_use]
    pub fn new(folder: PathBuf, key: [u8; 32], compiler: PathBuf) -> Self {
        Self {
            folder,
            key,
            compiler,
        }
    }

    /// The code of the component `bytes`, whose digest is `digest`: from disk where an artifact of
    /// this host is there, otherwise compiled now.
    ///
    /// # Errors
    ///
    /// `component.too_large` for one that is larger or takes longer than is allowed;
    /// `component.invalid` for one that is none.
    pub(super) async fn code(
        &self,
        engine: &Engine,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<Component, Refusal> {
        if bytes.len() > MAX_COMPONENT {
            return Err(Refusal::new(
                Reason::ComponentTooLarge,
                format!(
                    "{} bytes, at most {MAX_COMPONENT} are compiled",
                    bytes.len()
                ),
            ));
        }
        check_kind(bytes)?;
        if let Some(component) = self.load(engine, digest) {
            return Ok(component);
        }
        let code = self.compile(bytes).await?;
        let component = load_own(engine, &code)?;
        if let Err(error) = self.keep(engine, digest, Kind::Code, &code) {
            // It runs all the same; the next start compiles again.
            tracing::warn!(%digest, %error, "compiled code could not be kept");
        }
        Ok(component)
    }

    /// Whether a file is there. Whether it can be used shows when it is loaded.
    pub(super) fn has(&self, engine: &Engine, digest: Digest) -> bool {
        self.path(engine, digest, Kind::Code).is_file()
    }

    /// What the component with this digest said of itself, where this host kept it.
    pub(super) fn description(&self, engine: &Engine, digest: Digest) -> Option<Said> {
        let kept = self.read(engine, digest, Kind::Description)?;
        described::read(&kept)
    }

    /// Keeps what the component said of itself.
    pub(super) fn keep_description(&self, engine: &Engine, digest: Digest, said: &Said) {
        let kept = described::write(said)
            .map_err(std::io::Error::other)
            .and_then(|text| self.keep(engine, digest, Kind::Description, &text));
        if let Err(error) = kept {
            // It is asked again at the next load.
            tracing::warn!(%digest, %error, "a description could not be kept");
        }
    }

    fn path(&self, engine: &Engine, digest: Digest, kind: Kind) -> PathBuf {
        let fit = Digest::of(&fit(engine)).short();
        let ending = match kind {
            Kind::Code => "cwasm",
            Kind::Description => "description",
        };
        self.folder.join(format!("{}-{fit}.{ending}", digest.hex()))
    }

    fn mac(&self, engine: &Engine, digest: Digest, kind: Kind, bytes: &[u8]) -> blake3::Hash {
        // A key for each kind, so that none is ever taken for the other.
        let key = match kind {
            Kind::Code => self.key,
            Kind::Description => {
                blake3::derive_key("tollgate 2026-11-22 descriptions of components", &self.key)
            }
        };
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(&fit(engine));
        hasher.update(digest.as_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }

    /// What this host kept, read once and verified; none where there is nothing of its own.
    fn read(&self, engine: &Engine, digest: Digest, kind: Kind) -> Option<Vec<u8>> {
        let path = self.path(engine, digest, kind);
        let mut bytes = std::fs::read(&path).ok()?;
        let length = bytes.len().checked_sub(MAC)?;
        let mac: [u8; MAC] = bytes.get(length..)?.try_into().ok()?;
        bytes.truncate(length);
        // `blake3::Hash` compares in constant time.
        if self.mac(engine, digest, kind, &bytes) != blake3::Hash::from_bytes(mac) {
            tracing::warn!(path = %path.display(), "this is not what this host wrote; it is made again");
            return None;
        }
        Some(bytes)
    }

    /// The compiled form of the component with this digest, where this host kept it.
    pub(super) fn kept(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        self.load(engine, digest)
    }

    fn load(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let code = self.read(engine, digest, Kind::Code)?;
        load_own(engine, &code)
            .inspect_err(
                |error| tracing::warn!(%digest, %error, "compiled code does not load; compiling again"),
            )
            .ok()
    }

    fn keep(
        &self,
        engine: &Engine,
        digest: Digest,
        kind: Kind,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(std::io::Error::other)?;
        let temporary = self.folder.join(format!(".{}.tmp", hex::encode(name)));
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.write_all(self.mac(engine, digest, kind, bytes).as_bytes())
            })
            .and_then(|()| std::fs::rename(&temporary, self.path(engine, digest, kind)));
        if written.is_err() {
            drop(std::fs::remove_file(&temporary));
        }
        written
    }

    async fn compile(&self, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let failed = |what: &str, error: std::io::Error| {
            Refusal::new(Reason::HostInternal, format!("can't {what} the compiler"))
                .with_detail(format!("`{}`: {error}", self.compiler.display()))
        };
        let mut child = tokio::process::Command::new(&self.compiler)
            .arg("compile-component")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed("start", error))?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("talk to", std::io::Error::other("no pipe")));
        };
        let limit = bytes
            .len()
            .saturating_mul(MAX_GROWTH)
            .saturating_add(1 << 20);
        let talk = async {
            let (mut code, mut words) = (Vec::new(), Vec::new());
            let (mut out, mut err) = (stdout.take(limit as u64 + 1), stderr.take(16 << 10));
            let write = async {
                // A child that refuses early closes its input; its word on that is what counts.
                drop(stdin.write_all(bytes).await);
                drop(stdin);
                Ok(())
            };
            tokio::try_join!(
                write,
                out.read_to_end(&mut code),
                err.read_to_end(&mut words)
            )?;
            drop(out);
            Ok::<_, std::io::Error>((child.wait().await?, code, words))
        };
        let (status, code, words) = match tokio::time::timeout(MAX_COMPILE, talk).await {
            Ok(result) => result.map_err(|error| failed("talk to", error))?,
            Err(_) => {
                return Err(Refusal::new(
                    Reason::ComponentTooLarge,
                    format!("compiling took longer than {} s", MAX_COMPILE.as_secs()),
                ));
            }
        };
        if code.len() > limit {
            return Err(Refusal::new(
                Reason::ComponentTooLarge,
                format!("the compiled code is larger than {limit} bytes"),
            ));
        }
        if status.success() {
            return Ok(code);
        }
        let words = String::from_utf8_lossy(&words).trim().to_owned();
        if status.code() == Some(REFUSED) {
            return Err(
                Refusal::new(Reason::ComponentInvalid, "not a valid component").with_detail(words),
            );
        }
        Err(Refusal::new(
            Reason::ComponentTooLarge,
            "the compiler ran out of memory or time",
        )
        .with_detail(format!("{status}: {words}")))
    }
}

/// Digest of what must be equal for an artifact to load.
pub(super) fn fit_of(engine: &Engine) -> Digest {
    Digest::of(&fit(engine))
}

/// What must be equal for an artifact to load.
fn fit(engine: &Engine) -> Vec<u8> {
    use std::hash::{Hash as _, Hasher};

    /// Collects what is hashed: only equality matters.
    struct Collect(Vec<u8>);

    impl Hasher for Collect {
        fn finish(&self) -> u64 {
            0
        }

        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }

    let mut collect = Collect(Vec::new());
    engine.precompile_compatibility_hash().hash(&mut collect);
    collect.0
}

/// Tells the usual mistakes apart before a compiler is started for them.
fn check_kind(bytes: &[u8]) -> Result<(), Refusal> {
    let invalid = |text: &'static str| Err(Refusal::new(Reason::ComponentInvalid, text));
    match bytes.first_chunk::<8>() {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => invalid(
            "a core module, not a component: build it for `wasm32-wasip2`, or wrap it with `wasm-tools component new`",
        ),
        Some([0, b'a', b's', b'm', ..]) => invalid("WebAssembly of a version that is not known"),
        _ => invalid("not WebAssembly"),
    }
}

#[expect(unsafe_code, reason = "loading native code; see the SAFETY comment")]
fn load_own(engine: &Engine, code: &[u8]) -> Result<Component, Refusal> {
    // SAFETY: `code` is the output of our own compile child, over a pipe that nobody else holds, or
    // was read into this buffer from a file whose MAC was verified over the same buffer under a key
    // that only this host's user can read. Wasmtime itself checks version and settings.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| {
        let cause = format!("{error:#}");
        // The code is this host's own, so what is wrong is what the component asks for: more memory,
        // table entries or parts than any instance is given.
        if cause.contains("exceeds the") {
            Refusal::new(
                Reason::ComponentTooLarge,
                format!("the component asks for more than any instance is given: {cause}"),
            )
        } else {
            Refusal::new(Reason::HostInternal, "compiled code does not load").with_detail(cause)
        }
    })
}

/// The compile child's exit code for a component that is not valid.
const REFUSED: i32 = 65;

/// The compile child: reads a component from standard input, writes its compiled form to standard
/// output. Returns the exit code.
///
/// # Errors
///
/// The limits could not be set, or a pipe broke.
pub fn compile_child() -> std::io::Result<u8> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let set = |resource, value| {
        setrlimit(
            resource,
            Rlimit {
                current: Some(value),
                maximum: Some(value),
            },
        )
    };
    set(Resource::As, MAX_COMPILE_MEMORY)?;
    set(Resource::Cpu, MAX_COMPILE.as_secs() * 2)?;
    set(Resource::Core, 0)?;
    // It has its three pipes and needs no file.
    set(Resource::Fsize, 0)?;
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(MAX_COMPONENT as u64 + 1)
        .read_to_end(&mut bytes)?;
    let compiled =
        super::engine::for_compiling().and_then(|engine| engine.precompile_component(&bytes));
    match compiled {
        Ok(code) => {
            std::io::stdout().write_all(&code)?;
            Ok(0)
        }
        Err(error) => {
            writeln!(std::io::stderr(), "{error:#}")?;
            Ok(u8::try_from(REFUSED).unwrap_or(1))
        }
    }
}
