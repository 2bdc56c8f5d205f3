//! What `cargo xtask dist` made, as users meet it: installed into an empty root file system, run there, removed without a trace.
//!
//! In come the packages of `target/dist`; out come exit codes, what was said, and lists of files. The root is empty but for the package, so whatever the
//! program needs of a system is seen. Needs root (chroot, mounts in a namespace of its own), dpkg, rpm, mandoc, zsh and fish.

use anyhow::{Context as _, Result, ensure};
use lab::harness::{self, Case};
use lab::tracer::{self, Ended};
use libtest_mimic::Failed;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(1);
/// A session that was recorded by a live trace.
const LOG: &str = "ident-slow";

/// The program has less, bytes.
const LARGEST: u64 = 10_000_000;

/// The one file of `target/dist` with this ending.
fn made(ending: &str) -> Result<PathBuf> {
    let folder = lab::packages::target_dir().join("dist");
    let entries = fs::read_dir(&folder).with_context(|| format!("{}: `cargo xtask dist` makes it", folder.display()))?;
    let mut found: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    ensure!(found.len() == 1, "{ending}: {found:?}");
    Ok(found.remove(0).canonicalize()?)
}

/// A root file system without anything in it.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Result<Self> {
        let path = lab::packages::target_dir().join("lab-out").join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        Ok(Self(path.canonicalize()?))
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.join(inside)
    }

    /// Everything below it but the package manager's own folder.
    fn all(&self, but: &str) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let inside = path.strip_prefix(&self.0)?.display().to_string();
                if inside == but {
                    continue;
                }
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                }
                found.insert(inside);
            }
        }
        Ok(found)
    }

    /// Runs the installed program in it, with the machine's /proc and /sys, which it sees in a mount namespace of its own.
    fn run(&self, user: &str, args: &[&str]) -> Result<Ended> {
        let script = r#"root=$1 user=$2; shift 2
            mkdir -p "$root/proc" "$root/sys"
            mount --rbind /proc "$root/proc" && mount --rbind /sys "$root/sys" && exec chroot --userspec="$user" "$root" /usr/bin/mta-trace "$@""#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(&self.0).arg(user).args(args);
        tracer::run(&mut command, LIMIT)
    }
}

const NOBODY: &str = "65534:65534";
const ROOT: &str = "0:0";

fn done(command: &mut Command) -> Result<String> {
    let ended = tracer::run(command, LIMIT)?;
    ensure!(ended.status.success(), "{command:?}: {}: {}", ended.status, ended.stderr);
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// The program does there what it does here, and says what it may not.
fn works(root: &Root) -> Result<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("replay/{LOG}.jsonl"));
    fs::copy(&golden, root.path("log.jsonl"))?;
    let here = done(Command::new(lab::run::tracer_path()?).arg("report").arg(&golden))?;
    let report = root.run(NOBODY, &["report", "/log.jsonl"])?;
    ensure!(report.status.success() && report.stderr.is_empty(), "report: {}", report.stderr);
    ensure!(here.contains("ident") && String::from_utf8_lossy(&report.stdout) == here, "the report is another one than here");
    for (args, code, parts) in [
        (&["attach", "-p", "1"][..], 3, &["CAP_BPF", "CAP_PERFMON", "root"][..]),
        (&["doctor"], 3, &["CAP_BPF"]),
        (&["probe", "--to", "mx.example.com", "--quit-after", "helo", "--no-trace"], 1, &["getent", "write its address instead"]),
        (&["probe", "--to", "127.0.0.1:1", "--quit-after", "helo", "--no-trace"], 1, &["refused"]),
        (&["atach"], 2, &["'attach'"]),
    ] {
        let ended = root.run(NOBODY, args)?;
        ensure!(ended.status.code() == Some(code), "{args:?}: {}: {}", ended.status, ended.stderr);
        for part in parts {
            ensure!(ended.stderr.contains(part), "{args:?}: `{part}` is missing in: {}", ended.stderr);
        }
    }
    let doctor = root.run(ROOT, &["doctor"])?;
    ensure!(doctor.status.success(), "doctor: {}{}", String::from_utf8_lossy(&doctor.stdout), doctor.stderr);
    // Who is given the capabilities by file needs not be root.
    let capabilities = "cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search+ep";
    done(Command::new("setcap").arg(capabilities).arg(root.path("usr/bin/mta-trace")))?;
    let doctor = root.run(NOBODY, &["doctor"])?;
    ensure!(doctor.status.success(), "doctor with {capabilities}: {}{}", String::from_utf8_lossy(&doctor.stdout), doctor.stderr);
    fs::remove_file(root.path("log.jsonl"))?;
    for mounted in ["proc", "sys"] {
        fs::remove_dir(root.path(mounted))?;
    }
    Ok(())
}

/// The pages have no errors, and are shown.
fn pages_are_fine(root: &Root) -> Result<()> {
    let folder = root.path("usr/share/man/man1");
    let mut count = 0;
    for entry in fs::read_dir(&folder)? {
        let page = entry?.path();
        let text = done(Command::new("gzip").arg("-dc").arg(&page))?;
        let plain = lab::packages::target_dir().join("lab-out").join(page.file_stem().context("a name")?);
        fs::write(&plain, text)?;
        let errors = tracer::run(Command::new("mandoc").args(["-T", "lint", "-W", "error"]).arg(&plain), LIMIT)?;
        ensure!(errors.status.success(), "{}: {}", page.display(), String::from_utf8_lossy(&errors.stdout));
        let shown = done(Command::new("mandoc").args(["-T", "ascii"]).arg(&plain))?;
        ensure!(shown.contains("mta-trace manual") && shown.contains("E\u{8}EX\u{8}XA\u{8}A"), "{}: {shown}", page.display());
        fs::remove_file(&plain)?;
        count += 1;
    }
    ensure!(count >= 7 && root.path("usr/share/man/man1/mta-trace.1.gz").is_file(), "{count} pages");
    Ok(())
}

/// Each shell finds its file by itself where it is, and offers what is meant.
fn shells_complete(root: &Root, zsh: &str) -> Result<()> {
    let share = root.path("usr/share");
    let bash = r#"source "$1/bash-completion/completions/mta-trace"; complete -p mta-trace"#;
    ensure!(done(Command::new("bash").args(["--norc", "-c", bash, "bash"]).arg(&share))?.ends_with(" mta-trace\n"));
    let home = lab::packages::target_dir().join("lab-out/dist-home");
    fs::create_dir_all(&home)?;
    // It offers nothing for a program that is not there.
    let path = format!("{}:{}", root.path("usr/bin").display(), std::env::var("PATH").unwrap_or_default());
    let mut fish = Command::new("fish");
    fish.args(["-c", r#"complete -C "mta-trace attach --slow""#]).env("HOME", &home).env("PATH", path);
    let offered = done(fish.env("XDG_DATA_DIRS", format!("{}:/usr/share", share.display())))?;
    ensure!(offered.starts_with("--slower-than\t"), "fish: {offered}");
    // A zsh at a terminal, in which the tabulator is pressed.
    let script = r#"zmodload zsh/zpty; zpty z zsh -f -i
        zpty -w z "PS1='> '; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; print rea''dy"; zpty -r -m z line '*ready*'
        zpty -w -n z "mta-trace attach --slow"$'\t'; zpty -r -m z line '*--slower-than*'; print -r -- "$line"; zpty -d z"#;
    let offered = done(Command::new("zsh").args(["-f", "-c", script, "zsh"]).arg(root.path(zsh)).env("HOME", &home).env("TERM", "xterm"))?;
    ensure!(offered.contains("--slower-than"), "zsh: {offered}");
    Ok(())
}

fn the_deb_is_installed_used_and_removed() -> Result<()> {
    let root = Root::new("dist-deb")?;
    for folder in ["var/lib/dpkg/updates", "var/lib/dpkg/info"] {
        fs::create_dir_all(root.path(folder))?;
    }
    fs::write(root.path("var/lib/dpkg/status"), "")?;
    let dpkg = |args: &[&str], what: &Path| {
        done(Command::new("dpkg").arg(format!("--root={}", root.0.display())).arg("--log=/dev/null").args(args).arg(what))
    };
    let before = root.all("var/lib/dpkg")?;
    dpkg(&["--install"], &made(".deb")?)?;
    let installed = root.all("var/lib/dpkg")?;
    for wanted in [
        "usr/bin/mta-trace",
        "usr/share/bash-completion/completions/mta-trace",
        "usr/share/fish/vendor_completions.d/mta-trace.fish",
        "usr/share/zsh/vendor-completions/_mta-trace",
        "usr/share/doc/mta-trace/copyright",
        "usr/share/doc/mta-trace/third-party.txt",
        "usr/share/doc/mta-trace/README.md",
    ] {
        ensure!(installed.contains(wanted), "{wanted} is missing");
    }
    let third_party = fs::read_to_string(root.path("usr/share/doc/mta-trace/third-party.txt"))?;
    for part in ["\nrustls 0.23", "\naya 0.14", "Permission is hereby granted", "Apache License"] {
        ensure!(third_party.contains(part), "third-party.txt lacks {part}");
    }
    ensure!(dpkg(&["--verify"], Path::new("mta-trace"))?.is_empty(), "dpkg --verify");
    works(&root)?;
    pages_are_fine(&root)?;
    shells_complete(&root, "usr/share/zsh/vendor-completions")?;
    dpkg(&["--purge"], Path::new("mta-trace"))?;
    let left: Vec<String> = root.all("var/lib/dpkg")?.difference(&before).cloned().collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    let records = fs::read_dir(root.path("var/lib/dpkg/info"))?.filter_map(Result::ok).map(|it| it.file_name().to_string_lossy().into_owned());
    ensure!(records.into_iter().all(|name| !name.starts_with("mta-trace")), "dpkg keeps records of it");
    Ok(())
}

fn the_rpm_is_installed_used_and_removed() -> Result<()> {
    let root = Root::new("dist-rpm")?;
    let database = "var/lib/rpm";
    let rpm = |args: &[&str], what: &Path| {
        let mut command = Command::new("rpm");
        done(command.arg(format!("--root={}", root.0.display())).args(["--dbpath", "/var/lib/rpm"]).args(args).arg(what))
    };
    rpm(&["--initdb"], Path::new("--verbose"))?;
    rpm(&["--install", "--nosignature"], &made(".rpm")?)?;
    let installed = root.all(database)?;
    for wanted in ["usr/bin/mta-trace", "usr/share/zsh/site-functions/_mta-trace", "usr/share/licenses/mta-trace/LICENSE-MIT"] {
        ensure!(installed.contains(wanted), "{wanted} is missing");
    }
    ensure!(rpm(&["--verify"], Path::new("mta-trace"))?.is_empty(), "rpm --verify");
    works(&root)?;
    pages_are_fine(&root)?;
    shells_complete(&root, "usr/share/zsh/site-functions")?;
    rpm(&["--erase"], Path::new("mta-trace"))?;
    // The folders of the system belong to no package of an empty root.
    let left: Vec<String> = root.all(database)?.into_iter().filter(|path| path.contains("mta-trace") || root.path(path).is_file()).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn the_tarball_holds_the_same_program_and_the_sums_are_right() -> Result<()> {
    let tarball = made(".tar.gz")?;
    let folder = tarball.parent().context("a folder")?;
    done(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(folder))?;
    let root = Root::new("dist-tar")?;
    done(Command::new("tar").arg("-xf").arg(&tarball).arg("-C").arg(&root.0).arg("--strip-components=1"))?;
    done(Command::new("dpkg-deb").arg("-x").arg(made(".deb")?).arg(root.path("deb")))?;
    ensure!(fs::read(root.path("bin/mta-trace"))? == fs::read(root.path("deb/usr/bin/mta-trace"))?, "another program than in the .deb");
    let program = fs::read(root.path("bin/mta-trace"))?;
    ensure!((program.len() as u64) < LARGEST, "the program has {} bytes", program.len());
    // Where it was made would stand in it, in the names of files that panics tell.
    let cargo_home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| home + "/.cargo"))?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a folder")?.display().to_string();
    for folder in [cargo_home, sources] {
        ensure!(!program.windows(folder.len()).any(|bytes| bytes == folder.as_bytes()), "{folder} stands in the program");
    }
    for wanted in ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "third-party.txt", "docs/probe.md", "share/man/man1/mta-trace.1"] {
        ensure!(root.path(wanted).is_file(), "{wanted} is missing");
    }
    Ok(())
}

/// As `cargo install --path mta-trace` puts it, from the crates that are built already, into a folder of its own.
fn cargo_installs_it() -> Result<()> {
    let target = lab::packages::target_dir().canonicalize()?;
    let root = Root::new("dist-cargo")?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mta-trace");
    let mut install = Command::new("cargo");
    // What cargo has set for this test would make it compile ring, and all that is behind it, once more.
    let is_of_this_test = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_this_test)) {
        install.env_remove(name);
    }
    install.args(["install", "--quiet", "--locked", "--no-track", "--path"]).arg(&path).arg("--root").arg(&root.0).env("CARGO_TARGET_DIR", &target);
    let ended = tracer::run(&mut install, 10 * LIMIT)?;
    ensure!(ended.status.success(), "cargo install: {}", ended.stderr);
    let version = done(Command::new(root.path("bin/mta-trace")).arg("--version"))?;
    ensure!(version.starts_with("mta-trace "), "{version}");
    Ok(())
}

fn main() -> ExitCode {
    let case = |name, test: fn() -> Result<()>| Case::new(name, true, move || test().map_err(|error| Failed::from(format!("{error:#}"))));
    let cases = vec![
        case("the_deb_is_installed_used_and_removed", the_deb_is_installed_used_and_removed),
        case("the_rpm_is_installed_used_and_removed", the_rpm_is_installed_used_and_removed),
        case("the_tarball_holds_the_same_program_and_the_sums_are_right", the_tarball_holds_the_same_program_and_the_sums_are_right),
        case("cargo_installs_it", cargo_installs_it),
    ];
    // One after another: `doctor` tries every hook.
    harness::run("dist", cases, Some(1))
}
