//! `cargo xtask setup`: the standard library for `wasm32-wasip2`, for the pinned toolchain.
//!
//! Three ways, in this order: it is there; rustup fetches it; it is built from Debian's source package of exactly this
//! release and put where rustup would have put it. The target folder is complete or absent, never half there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{capture, run, succeeds_within};
use crate::repo::{GUEST_TARGET, Repo};

/// rustup without a server to talk to would wait far longer than anyone watches.
const RUSTUP_BOUND: Duration = Duration::from_secs(60);
/// Debian's archive section that holds Rust releases newer than the stable distribution's.
const DEBIAN_SUITE: &str = "trixie-backports";
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What the linker needs from the C library.
const C_OBJECTS: [&str; 3] = ["crt1-command.o", "crt1-reactor.o", "libc.a"];

const STD_MANIFEST: &str = r#"[package]
name = "std-for-wasm"
version = "0.0.0"
edition = "2021"

[profile.release]
debug = false

[workspace]
"#;

struct Toolchain {
    sysroot: PathBuf,
    release: String,
}

impl Toolchain {
    fn of(repo: &Repo) -> Result<Toolchain> {
        let rustc = || {
            let mut command = Command::new("rustc");
            command.current_dir(&repo.root);
            command
        };
        let sysroot = capture(rustc().args(["--print", "sysroot"]))?.trim().into();
        let verbose = capture(rustc().arg("-vV"))?;
        let release = verbose.lines().find_map(|line| line.strip_prefix("release: ")).context("`rustc -vV` names no release")?.to_owned();
        Ok(Toolchain { sysroot, release })
    }

    fn rustlib(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }

    fn has_guest_target(&self) -> bool {
        let Ok(entries) = self.rustlib().join(GUEST_TARGET).join("lib").read_dir() else { return false };
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("libstd-") && Path::new(&name).extension() == Some(OsStr::new("rlib"))
        })
    }
}

/// Makes the target available or says in one line what to install.
pub fn setup(repo: &Repo) -> Result<()> {
    let toolchain = Toolchain::of(repo)?;
    let (release, sysroot) = (&toolchain.release, toolchain.sysroot.display());
    if toolchain.has_guest_target() {
        eprintln!("setup: Rust {release} has `{GUEST_TARGET}`");
        return Ok(());
    }
    eprintln!("setup: adding `{GUEST_TARGET}` to Rust {release} with rustup, in {sysroot}");
    let mut add = Command::new("rustup");
    // rustup answers yes for a component it has recorded even when its files are gone, so the files are asked again.
    if succeeds_within(add.current_dir(&repo.root).args(["target", "add", GUEST_TARGET]), RUSTUP_BOUND) && toolchain.has_guest_target() {
        eprintln!("setup: done; to undo: rustup target remove {GUEST_TARGET}");
        return Ok(());
    }
    let installed = toolchain.rustlib().join(GUEST_TARGET);
    eprintln!("setup: rustup could not; building the standard library from Debian's sources, once; minutes");
    eprintln!("setup: this creates {} and nothing else that stays", installed.display());
    build_from_debian(repo, &toolchain).with_context(|| {
        format!("install the target `{GUEST_TARGET}` of Rust {release} by hand: neither rustup nor apt-get could fetch it")
    })?;
    eprintln!("setup: done; to undo: rm -r {}", installed.display());
    Ok(())
}

fn build_from_debian(repo: &Repo, toolchain: &Toolchain) -> Result<()> {
    let scratch = tempfile::tempdir().context("could not make a scratch folder")?;
    let scratch = scratch.path();
    let unpacked = fetch_packages(scratch, &toolchain.release)?;
    let sources = unpacked.join("usr/src").join(format!("rustc-{}", toolchain.release));
    let libraries = {
        let _lent = lend_sources(toolchain, &sources)?;
        build_std(repo, toolchain, &scratch.join("std"))?
    };
    install(toolchain, &libraries, &unpacked.join("usr/lib").join(GUEST_TARGET))
}

/// Downloads the two packages and unpacks them, with lists and caches of its own: the machine's package database is only read.
fn fetch_packages(scratch: &Path, release: &str) -> Result<PathBuf> {
    let mirrors = capture(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]))?;
    let mirror = mirrors.lines().find(|line| line.ends_with("/debian/")).context("apt-get knows no Debian mirror")?;
    let sources = scratch.join("sources.list");
    std::fs::write(&sources, format!("deb [signed-by={DEBIAN_KEYRING}] {mirror} {DEBIAN_SUITE} main\n"))?;
    for folder in ["lists/partial", "cache/archives/partial", "unpacked"] {
        std::fs::create_dir_all(scratch.join(folder))?;
    }
    let apt = || {
        let mut command = Command::new("apt-get");
        command.current_dir(scratch).arg("-qq").args([
            format!("-oDir::Etc::SourceList={}", sources.display()),
            "-oDir::Etc::SourceParts=-".to_owned(),
            format!("-oDir::State::Lists={}", scratch.join("lists").display()),
            format!("-oDir::Cache={}", scratch.join("cache").display()),
            "-oAPT::Sandbox::User=root".to_owned(),
        ]);
        command
    };
    run(apt().arg("update"))?;
    run(apt().args(["download", &format!("rust-src={release}*"), "wasi-libc"]))?;
    let unpacked = scratch.join("unpacked");
    for entry in scratch.read_dir()? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("deb")) {
            run(Command::new("dpkg-deb").arg("-x").args([&path, &unpacked]))?;
        }
    }
    Ok(unpacked)
}

/// A link to the sources where cargo looks for them; gone again when it is dropped, also after a failure.
struct LentSources(Option<PathBuf>);

impl Drop for LentSources {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            // A link that cannot be removed points nowhere and is replaced by the next `rustup component add rust-src`.
            let _ = std::fs::remove_file(link);
            // The folder goes too unless it holds something else; a folder that is not empty is not removed.
            let _ = link.parent().map(std::fs::remove_dir);
        }
    }
}

fn lend_sources(toolchain: &Toolchain, sources: &Path) -> Result<LentSources> {
    let place = toolchain.rustlib().join("src");
    let link = place.join("rust");
    if link.exists() {
        return Ok(LentSources(None));
    }
    std::fs::create_dir_all(&place).with_context(|| format!("could not write in `{}`", place.display()))?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(sources, &link).with_context(|| format!("could not link `{}`", link.display()))?;
    #[cfg(not(unix))]
    bail!("`{}` can only be lent on Unix", sources.display());
    Ok(LentSources(Some(link)))
}

/// Builds the standard library through an empty package and returns the folder of its libraries.
fn build_std(repo: &Repo, toolchain: &Toolchain, package: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(package.join("src"))?;
    std::fs::write(package.join("Cargo.toml"), STD_MANIFEST)?;
    std::fs::write(package.join("src/lib.rs"), "")?;
    let target = package.join("target");
    run(repo
        .cargo()
        .current_dir(package)
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTC", toolchain.sysroot.join("bin/rustc"))
        // The release channel's own escape hatch for exactly this use.
        .env("RUSTC_BOOTSTRAP", "1")
        // Bitcode, so that plugins can be linked with optimisation across crates.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes")
        .args(["build", "--release", "--target", GUEST_TARGET, "-Zbuild-std=std,panic_abort,panic_unwind"]))?;
    Ok(target.join(GUEST_TARGET).join("release/deps"))
}

/// Gathers the files beside the final folder and moves them there in one step.
fn install(toolchain: &Toolchain, libraries: &Path, c_library: &Path) -> Result<()> {
    let rustlib = toolchain.rustlib();
    let gathered = tempfile::Builder::new().prefix("tidegate-setup-").tempdir_in(&rustlib)?;
    let lib = gathered.path().join("lib");
    std::fs::create_dir_all(lib.join("self-contained"))?;
    let mut copied = 0;
    for entry in libraries.read_dir().with_context(|| format!("could not list `{}`", libraries.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default().into_owned();
        if path.extension() == Some(OsStr::new("rlib")) && !name.starts_with("libstd_for_wasm") {
            std::fs::copy(&path, lib.join(&name))?;
            copied += 1;
        }
    }
    if copied == 0 {
        bail!("the build left no library in `{}`", libraries.display());
    }
    for object in C_OBJECTS {
        std::fs::copy(c_library.join(object), lib.join("self-contained").join(object))
            .with_context(|| format!("Debian's `wasi-libc` has no `{object}` for `{GUEST_TARGET}`"))?;
    }
    let place = rustlib.join(GUEST_TARGET);
    // What is there has no standard library in it, or we would not be here.
    if place.exists() {
        std::fs::remove_dir_all(&place)?;
    }
    std::fs::rename(gathered.keep(), &place).with_context(|| format!("could not create `{}`", place.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The scratch folder was private to this user; a toolchain is for everyone who can run it.
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_built_target_is_not_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = Toolchain { sysroot: folder.path().into(), release: "1.0.0".into() };
        assert!(!toolchain.has_guest_target());
        let lib = toolchain.rustlib().join(GUEST_TARGET).join("lib");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::write(lib.join("libcore-1.rlib"), "").unwrap();
        std::fs::write(lib.join("libstd-1.rmeta"), "").unwrap();
        assert!(!toolchain.has_guest_target());
        std::fs::write(lib.join("libstd-1.rlib"), "").unwrap();
        assert!(toolchain.has_guest_target());
    }

    #[test]
    #[cfg(unix)]
    fn lent_sources_leave_nothing_behind_and_touch_nothing_that_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = Toolchain { sysroot: folder.path().into(), release: "1.0.0".into() };
        std::fs::create_dir_all(toolchain.rustlib()).unwrap();
        let link = toolchain.rustlib().join("src/rust");
        let lent = lend_sources(&toolchain, folder.path()).unwrap();
        assert!(link.exists());
        drop(lent);
        assert_eq!(toolchain.rustlib().read_dir().unwrap().count(), 0);

        std::fs::create_dir_all(&link).unwrap();
        drop(lend_sources(&toolchain, folder.path()).unwrap());
        assert!(link.exists());
    }

    #[test]
    fn installing_leaves_a_whole_target_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = Toolchain { sysroot: folder.path().join("sysroot"), release: "1.0.0".into() };
        let (libraries, c_library) = (folder.path().join("deps"), folder.path().join("c"));
        for made in [&toolchain.rustlib(), &libraries, &c_library] {
            std::fs::create_dir_all(made).unwrap();
        }
        std::fs::write(libraries.join("libstd-1.rlib"), "std").unwrap();
        std::fs::write(libraries.join("libstd_for_wasm-1.rlib"), "ours").unwrap();
        let error = install(&toolchain, &libraries, &c_library).unwrap_err();
        assert!(error.to_string().contains("`crt1-command.o`"), "{error}");
        assert_eq!(toolchain.rustlib().read_dir().unwrap().count(), 0);

        for object in C_OBJECTS {
            std::fs::write(c_library.join(object), object).unwrap();
        }
        install(&toolchain, &libraries, &c_library).unwrap();
        assert!(toolchain.has_guest_target());
        let lib = toolchain.rustlib().join(GUEST_TARGET).join("lib");
        assert!(lib.join("self-contained/libc.a").exists());
        assert!(!lib.join("libstd_for_wasm-1.rlib").exists());
    }
}
