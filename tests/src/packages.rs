//! Debian's packages, unpacked into a cache and never installed: no MTA of the machine is touched.
//!
//! In comes an MTA, out come paths of the MTAs and their tools, of smtp-source, and the libraries that the machine lacks, whatever they
//! are called in its release: those of the packages' dependencies that are not installed. What is in the cache is never downloaded
//! again; a folder is there whole or not at all. Ordinary tools, which are installed, stand in the same file, in one list.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

use crate::mta::Mta;

/// Packages that are unpacked into one folder.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    /// The folder's name.
    pub name: &'static str,
    /// Debian's names.
    pub packages: &'static [&'static str],
    /// What is run of them: paths in the folder.
    pub programs: &'static [&'static str],
}

/// Postfix apart from the others, since each brings a `/usr/sbin/sendmail`.
pub const POSTFIX: Set = Set { name: "postfix", packages: &["postfix"], programs: &["usr/sbin/smtp-source"] };

/// What the lab and its tests need of the machine, and the packages that have it. A path is a file, `ARCH` in it the architecture.
const TOOLS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("openssl", "openssl"),
    ("strace", "strace"),
    ("bpftool", "bpftool"),
    ("/usr/bin/python3", "python3"),
    ("/usr/share/doc/python3-venv/copyright", "python3-venv"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("/usr/lib/ARCH-linux-gnu/sasl2/libplain.so.2", "libsasl2-modules"),
    // Of the packages that `cargo xtask dist` makes: built, installed, their pages and completions tried.
    ("rpmbuild", "rpm"),
    ("mandoc", "mandoc"),
    ("zsh", "zsh"),
    ("fish", "fish"),
    ("setcap", "libcap2-bin"),
];

/// The unpacked packages of one MTA.
#[derive(Debug, Clone)]
pub struct Packages {
    root: PathBuf,
    sets: &'static [Set],
    libraries: &'static str,
}

/// The folder of build results, where cache and output of the lab live too.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
}

impl Packages {
    /// Unpacks what is missing for an MTA; downloads at most once, also when several labs start together.
    pub fn unpack(mta: &dyn Mta) -> Result<Self> {
        Self::of(mta.sets(), mta.libraries())
    }

    /// The same of any packages; `libraries`: the folder for what they need and the machine lacks.
    pub fn of(sets: &'static [Set], libraries: &'static str) -> Result<Self> {
        static ONCE: Mutex<()> = Mutex::new(());
        let _guard = ONCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let root = std::env::var_os("MTA_TRACE_LAB_CACHE").map_or_else(|| target_dir().join("lab-cache"), PathBuf::from);
        std::fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("resolve {}", root.display()))?;
        let packages = Self { root, sets, libraries };
        for Set { name, packages: wanted, programs: _ } in packages.sets {
            fetch(&packages.root, name, wanted)?;
        }
        if !packages.missing_libraries()?.is_empty() {
            packages.fetch_libraries().context("libraries of the unpacked packages")?;
            let missing = packages.missing_libraries()?;
            if !missing.is_empty() {
                bail!("the unpacked packages need {}, which none of their dependencies has", missing.join(", "));
            }
        }
        Ok(packages)
    }

    /// A file of one set, by its path there.
    pub fn file(&self, set: &str, path: &str) -> PathBuf {
        self.root.join(set).join(path)
    }

    /// The folders of all sets, also of those of neighbours, as they stand in logs.
    pub fn folders(&self) -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&self.root).with_context(|| format!("list {}", self.root.display()))?;
        entries.map(|entry| Ok(entry?.path().join(""))).collect()
    }

    /// Postfix's load generator.
    pub fn smtp_source(&self) -> PathBuf {
        self.file(POSTFIX.name, "usr/sbin/smtp-source")
    }

    /// Value of `LD_LIBRARY_PATH` for all of them.
    pub fn library_path(&self) -> String {
        let arch = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries = self.root.join(self.libraries);
        // Not all packages know of the folder for each architecture.
        let dirs = [
            libraries.join("usr/lib").join(&arch),
            libraries.join("lib").join(&arch),
            libraries.join("usr/lib"),
            self.file(POSTFIX.name, "usr/lib/postfix"),
        ];
        dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":")
    }

    /// A command with the library path set.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", self.library_path()).stdin(Stdio::null());
        command
    }

    /// Sonames that the loader does not find, together with what is unpacked.
    fn missing_libraries(&self) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        let programs = self.sets.iter().flat_map(|set| set.programs.iter().map(|program| self.file(set.name, program)));
        for program in programs {
            let output = self.command(Path::new("ldd")).arg(program).output().context("run ldd")?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            missing
                .extend(text.lines().filter(|line| line.contains("not found")).filter_map(|line| line.split_whitespace().next()).map(str::to_owned));
        }
        missing.sort_unstable();
        missing.dedup();
        Ok(missing)
    }

    /// Unpacks the libraries of the packages' dependencies that are not installed here; the libraries of those, too.
    fn fetch_libraries(&self) -> Result<()> {
        let old = self.root.join(self.libraries);
        if old.exists() {
            std::fs::remove_dir_all(&old).with_context(|| format!("remove {}", old.display()))?;
        }
        let wanted = with_lists(&self.root, |options| {
            let mut depends = Command::new("apt-cache");
            depends.args(options).args(["depends", "--recurse", "--important"]).args(self.sets.iter().flat_map(|set| set.packages));
            let mut wanted: Vec<String> =
                output(&mut depends)?.lines().filter(|name| is_library(name) && !is_installed(name)).map(str::to_owned).collect();
            wanted.sort_unstable();
            wanted.dedup();
            ensure!(!wanted.is_empty(), "apt knows no library that they depend on and that is not installed");
            Ok(wanted)
        })?;
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        fetch(&self.root, self.libraries, &wanted)
    }
}

/// A line of `apt-cache depends` that names a package, which by its name holds shared libraries.
fn is_library(name: &str) -> bool {
    name.starts_with("lib") && !["-perl", "-bin", "-common", "-data", "-dev"].iter().any(|end| name.ends_with(end))
}

fn is_installed(package: &str) -> bool {
    let status = Command::new("dpkg-query").args(["-W", "-f=${Status}", package]).stderr(Stdio::null()).output();
    status.is_ok_and(|output| output.stdout.ends_with(b"ok installed"))
}

/// Installs the ordinary tools that the lab runs, where they are missing.
pub fn setup() -> Result<()> {
    let missing: Vec<&str> = TOOLS.iter().filter(|(tool, _)| !is_there(tool)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    run(Command::new("apt-get").arg("update"))?;
    let mut command = Command::new("apt-get");
    command.args(["install", "-y", "--no-install-recommends"]).args(&missing).env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut command).with_context(|| format!("install {} (as root, or yourself)", missing.join(" ")))
}

/// Fails, and says what to do, where one of these tools is missing: for those who install nothing on anybody's system.
pub fn require(tools: &[&str]) -> Result<()> {
    let missing: Vec<&str> = TOOLS.iter().filter(|(tool, _)| tools.contains(tool) && !is_there(tool)).map(|(_, package)| *package).collect();
    ensure!(missing.is_empty(), "{} is missing here and is not installed by itself: apt-get install {0}, then again", missing.join(" "));
    Ok(())
}

fn is_there(tool: &str) -> bool {
    if tool.starts_with('/') {
        return Path::new(&tool.replace("ARCH", std::env::consts::ARCH)).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(tool).is_file())
}

/// Asks apt with the machine's own package lists, and where that fails once more with fresh ones in the cache: old lists name packages
/// that are gone, and the machine's own are left as they are.
fn with_lists<T>(root: &Path, ask: impl Fn(&[String]) -> Result<T>) -> Result<T> {
    let apt = root.join("apt");
    let own: Vec<String> = [("Dir::State::Lists", "lists"), ("Dir::Cache", "cache")]
        .iter()
        .map(|(option, dir)| format!("-o{option}={}", apt.join(dir).display()))
        .collect();
    // Once they were needed, the fresh ones are asked first.
    let first = match ask(if apt.is_dir() { &own } else { &[] }) {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    for dir in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(apt.join(dir)).with_context(|| format!("create {dir} of {}", apt.display()))?;
    }
    run(Command::new("apt-get").args(&own).arg("update")).with_context(|| format!("after {first:#}"))?;
    ask(&own)
}

fn fetch(root: &Path, name: &str, packages: &[&str]) -> Result<()> {
    let done = root.join(name);
    if done.is_dir() {
        return Ok(());
    }
    let part = root.join(format!("{name}.{}.part", std::process::id()));
    let debs = part.join("debs");
    std::fs::create_dir_all(&debs).with_context(|| format!("create {}", debs.display()))?;
    with_lists(root, |options| run(Command::new("apt-get").args(options).arg("download").args(packages).current_dir(&debs)))?;
    for deb in std::fs::read_dir(&debs).context("list downloaded packages")? {
        run(Command::new("dpkg-deb").arg("-x").arg(deb?.path()).arg(&part))?;
    }
    // The loader ignores LD_LIBRARY_PATH for programs with setuid or setgid bits.
    run(Command::new("chmod").args(["-R", "ug-s"]).arg(&part))?;
    std::fs::remove_dir_all(&debs).context("remove downloaded packages")?;
    match std::fs::rename(&part, &done) {
        Err(_) if done.is_dir() => std::fs::remove_dir_all(&part).context("remove a second copy"),
        other => other.with_context(|| format!("rename to {}", done.display())),
    }
}

/// What a command printed; an error is its stderr.
fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    ensure!(output.status.success() && !output.stdout.is_empty(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end and fails with its stderr.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
