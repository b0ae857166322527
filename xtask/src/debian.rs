//! A private toolchain for guests, of Debian's packages.
//!
//! For machines on which rustup cannot fetch the target (an offline mirror without it, say) while the distribution's
//! packages can be had. The packages are unpacked below the target folder and installed nowhere. Debian's compiler has
//! no standard library for `wasm32-wasip2`, so that is built here, once, against the C library of `wasi-libc`; linker and
//! component writer are those of the active toolchain. It takes about a minute and half a gigabyte.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::toolchain::{TARGET, has_std, output, print};
use crate::{say, target};

/// Packages whose names don't change. Those of the compiler's libraries carry versions: `apt-cache` knows them.
const PACKAGES: [&str; 4] = [
    "rustc-web",
    "libstd-rust-web-dev",
    "rust-web-src",
    "wasi-libc",
];

/// Libraries that LLVM needs, and the packages that hold them (Debian 12). Only those that the machine lacks are fetched.
const LIBRARIES: [(&str, &str); 10] = [
    ("libz3.so", "libz3-4"),
    ("libedit.so", "libedit2"),
    ("libbsd.so", "libbsd0"),
    ("libmd.so", "libmd0"),
    ("libxml2.so", "libxml2"),
    ("libicu", "libicu72"),
    ("libtinfo.so", "libtinfo6"),
    ("libffi.so", "libffi8"),
    ("libzstd.so", "libzstd1"),
    ("liblzma.so", "liblzma5"),
];

/// The compiler of the private toolchain, which is made where it is not there yet.
pub(crate) fn ensure() -> Result<PathBuf> {
    let folder = target().join("guest-toolchain");
    let rustc = folder.join("rustc");
    fs::create_dir_all(target()).with_context(|| format!("make `{}`", target().display()))?;
    // A test run and a build of the plugins may both come here at once.
    let lock = File::create(target().join("guest-toolchain.lock"))
        .context("make the lock of the guest toolchain")?;
    lock.lock()
        .context("wait for the lock of the guest toolchain")?;
    if rustc.is_file() {
        return Ok(rustc);
    }
    let partial = target().join("guest-toolchain.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("remove `{}`", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("make `{}`", partial.display()))?;
    make(&partial)?;
    fs::rename(&partial, &folder).with_context(|| format!("make `{}`", folder.display()))?;
    say(format_args!(
        "the guest toolchain is ready in `{}`",
        folder.display()
    ));
    Ok(rustc)
}

fn make(folder: &Path) -> Result<()> {
    for tool in ["apt-get", "apt-cache", "dpkg-deb", "tar", "ldd"] {
        if output(Command::new(tool).arg("--version")).is_err() {
            bail!("there is no `{tool}` here, so a toolchain of Debian's packages can't be made");
        }
    }
    say("refreshing the list of packages");
    let refreshed = Command::new("apt-get")
        .args(["--quiet", "update"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !refreshed.is_ok_and(|status| status.success()) {
        say("the list could not be refreshed (that takes root): going by the one that is there");
    }
    let mut packages: Vec<String> = PACKAGES.map(str::to_owned).to_vec();
    packages.push(dependency("libstd-rust-web-dev", "libstd-rust-web-")?);
    let standard = packages.last().cloned().unwrap_or_default();
    packages.push(dependency(&standard, "libllvm")?);
    say(format_args!(
        "fetching {} packages, about 140 MB",
        packages.len()
    ));
    unpack(folder, &packages)?;
    add_libraries(folder)?;

    let rustc = folder.join("rustc");
    let script = "#!/bin/sh\n\
        # Debian's compiler, with the libraries that were unpacked beside it.\n\
        here=$(CDPATH= cd -- \"$(dirname -- \"$0\")\" && pwd)\n\
        for folder in \"$here\"/usr/lib/*-linux-gnu \"$here\"/lib/*-linux-gnu; do\n\
        \x20 LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\n\
        done\n\
        export LD_LIBRARY_PATH\n\
        case \" $* \" in *\" wasm32-wasip2 \"*) set -- \"$@\" \"-Clink-arg=$here/preview1.o\" ;; esac\n\
        exec \"$here/usr/bin/rustc\" \"$@\"\n";
    fs::write(&rustc, script).context("write the compiler's wrapper")?;
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755))
        .context("make the compiler's wrapper executable")?;

    link_tools(folder)?;
    let library = library(folder)?;
    build_std(folder, &rustc, &library)?;
    build_preview1(folder, &rustc)
}

/// The dependency of a package whose name starts so.
fn dependency(package: &str, prefix: &str) -> Result<String> {
    let listed = output(Command::new("apt-cache").args([
        "depends",
        "--no-recommends",
        "--no-suggests",
        package,
    ]))?;
    listed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| {
            format!("the package `{package}` is not on offer here: Debian 12 and later have it")
        })
}

fn unpack(folder: &Path, packages: &[String]) -> Result<()> {
    let archives = folder.join("archives");
    fs::create_dir_all(&archives).context("make a folder for packages")?;
    output(
        Command::new("apt-get")
            .args(["--quiet", "download"])
            .args(packages)
            .current_dir(&archives),
    )
    .context("fetch packages")?;
    for entry in fs::read_dir(&archives).context("list packages")? {
        let archive = entry?.path();
        // The sources of the whole compiler are in one package, of which only those of the library are needed.
        let only: &[&str] = if archive
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("rust-web-src"))
        {
            &[
                "--wildcards",
                "./usr/src/rustc-*/library",
                "./usr/src/rustc-*/Cargo.lock",
            ]
        } else {
            &[]
        };
        let mut files = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(&archive)
            .stdout(Stdio::piped())
            .spawn()
            .context("start dpkg-deb")?;
        let input = files.stdout.take().context("read a package")?;
        output(
            Command::new("tar")
                .arg("-x")
                .arg("-C")
                .arg(folder)
                .args(only)
                .stdin(input),
        )
        .with_context(|| format!("unpack `{}`", archive.display()))?;
        if !files.wait().context("wait for dpkg-deb")?.success() {
            bail!("`{}` could not be read", archive.display());
        }
    }
    fs::remove_dir_all(&archives).context("remove packages")
}

/// Fetches what the compiler can't be loaded without.
fn add_libraries(folder: &Path) -> Result<()> {
    // Each round may bring libraries that need others.
    for _ in 0..4 {
        let paths = library_folders(folder)?;
        let listed = output(
            Command::new("ldd")
                .arg(folder.join("usr/bin/rustc"))
                .env("LD_LIBRARY_PATH", &paths),
        )?;
        let missing: Vec<&str> = listed
            .lines()
            .filter(|line| line.ends_with("not found"))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut packages = Vec::new();
        for name in missing {
            let (_, package) = LIBRARIES
                .iter()
                .find(|(library, _)| name.starts_with(library))
                .with_context(|| {
                    format!("Debian's compiler needs `{name}`, which this machine lacks")
                })?;
            if !packages.iter().any(|known| known == package) {
                packages.push((*package).to_owned());
            }
        }
        unpack(folder, &packages)?;
    }
    bail!("the libraries of Debian's compiler could not be put together")
}

/// Where the unpacked libraries are, as `LD_LIBRARY_PATH` takes it. Some packages still use `/lib`.
fn library_folders(folder: &Path) -> Result<String> {
    let mut found = Vec::new();
    for base in ["usr/lib", "lib"] {
        let Ok(entries) = fs::read_dir(folder.join(base)) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with("-linux-gnu") {
                found.push(entry.path().display().to_string());
            }
        }
    }
    Ok(found.join(":"))
}

/// The linker and the component writer of the active toolchain.
fn link_tools(folder: &Path) -> Result<()> {
    let host = print(["--print", "host-tuple"])?;
    let from = Path::new(&print(["--print", "sysroot"])?)
        .join("lib/rustlib")
        .join(&host)
        .join("bin");
    for tool in ["rust-lld", "wasm-component-ld"] {
        if !from.join(tool).is_file() {
            bail!("the active toolchain has no `{tool}`: a toolchain that rustup installed has it");
        }
    }
    let to = folder.join("usr/lib/rustlib").join(host).join("bin");
    if to.symlink_metadata().is_err() {
        symlink(&from, &to).context("link the active toolchain's linker")?;
    }
    Ok(())
}

/// The sources of the standard library, where the compiler looks for them.
fn library(folder: &Path) -> Result<PathBuf> {
    let sources = fs::read_dir(folder.join("usr/src"))
        .context("find the sources of the standard library")?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("library").is_dir())
        .context("the package of the standard library's sources holds none")?;
    let name = sources
        .file_name()
        .context("find the sources of the standard library")?;
    let expected = folder.join("usr/lib/rustlib/src/rust");
    if expected.symlink_metadata().is_ok() {
        fs::remove_file(&expected).context("replace the link to the standard library's sources")?;
    }
    fs::create_dir_all(folder.join("usr/lib/rustlib/src"))
        .context("make a folder for the standard library's sources")?;
    symlink(Path::new("../../../src").join(name), &expected)
        .context("link the standard library's sources")?;
    Ok(sources.join("library"))
}

fn build_std(folder: &Path, rustc: &Path, library: &Path) -> Result<()> {
    let into = folder.join("usr/lib/rustlib").join(TARGET).join("lib");
    let c_library = folder.join("usr/lib/wasm32-wasi");
    fs::create_dir_all(into.join("self-contained"))
        .context("make a folder for the standard library")?;
    for file in ["libc.a", "crt1-command.o", "crt1-reactor.o"] {
        fs::copy(c_library.join(file), into.join("self-contained").join(file))
            .with_context(|| format!("take `{file}` of wasi-libc"))?;
    }
    if !library.join("Cargo.lock").is_file() {
        // Debian keeps the lock of the library with that of the compiler in some versions.
        let lock = library.parent().unwrap_or(library).join("Cargo.lock");
        fs::copy(lock, library.join("Cargo.lock"))
            .context("find the lock file of the standard library")?;
    }

    say("building the standard library for guests, about a minute");
    let empty = folder.join("empty");
    fs::create_dir_all(empty.join("src")).context("make an empty crate")?;
    fs::write(empty.join("src/lib.rs"), "").context("make an empty crate")?;
    fs::write(
        empty.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nedition = \"2024\"\n\n[workspace]\n",
    )
    .context("make an empty crate")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for variable in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET",
    ] {
        cargo.env_remove(variable);
    }
    // Building the standard library is not stable in cargo, hence the bootstrap switch; nothing else is built with it.
    cargo
        .args([
            "build",
            "--quiet",
            "--release",
            "--target",
            TARGET,
            "-Zbuild-std=std,panic_abort",
        ])
        .current_dir(&empty)
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Cembed-bitcode=yes -Cdebuginfo=0");
    output(&mut cargo).context("build the standard library for guests")?;
    let built = empty.join("target").join(TARGET).join("release/deps");
    for entry in fs::read_dir(&built).context("find the standard library")? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "rlib")
            && let Some(name) = path.file_name()
            && !name.to_string_lossy().starts_with("libempty-")
        {
            fs::copy(&path, into.join(name)).context("put the standard library in its place")?;
        }
    }
    fs::remove_dir_all(&empty).context("remove the empty crate")?;
    if !has_std(&into) {
        bail!("building the standard library left none");
    }
    Ok(())
}

/// What stands in for imports that Debian's C library would have: see `preview1.rs`. The wrapper links it to each guest.
fn build_preview1(folder: &Path, rustc: &Path) -> Result<()> {
    let source = folder.join("preview1.rs");
    fs::write(&source, include_str!("preview1.rs")).context("write `preview1.rs`")?;
    output(
        Command::new(rustc)
            .args([
                "--edition",
                "2024",
                "--target",
                TARGET,
                "--crate-type",
                "lib",
                "--emit",
                "obj",
            ])
            .args(["-O", "-Cpanic=abort", "-Ccodegen-units=1", "-o"])
            .arg(folder.join("preview1.o"))
            .arg(&source),
    )
    .map(|_| ())
    .context("build what stands in for WASI 0.1")
}
