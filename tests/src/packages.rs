//! Debian's packages, unpacked into a cache and never installed: no MTA of the machine is touched.
//!
//! In comes nothing, out come paths of sendmail, m4, makemap, smtp-source and the libraries that the machine lacks.
//! What is in the cache is never downloaded again; a folder is there whole or not at all.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

/// What is unpacked into one folder each; postfix apart, since both bring a `/usr/sbin/sendmail`.
const SETS: &[(&str, &[&str])] = &[("sendmail", &["sendmail-bin", "sendmail-base", "sendmail-cf", "sensible-mda", "m4"]), ("postfix", &["postfix"])];

/// Libraries that a small machine may lack, and their packages.
const LIBRARIES: &[(&str, &str)] = &[
    ("libwrap.so.0", "libwrap0"),
    ("libdb-5.3.so", "libdb5.3"),
    ("libnsl.so.2", "libnsl2"),
    ("libtirpc.so.3", "libtirpc3"),
    ("libldap-2.5.so.0", "libldap-2.5-0"),
    ("liblber-2.5.so.0", "libldap-2.5-0"),
    ("libsasl2.so.2", "libsasl2-2"),
    ("libssl.so.3", "libssl3"),
    ("libcrypto.so.3", "libssl3"),
    ("liblockfile.so.1", "liblockfile1"),
];

/// The unpacked packages.
#[derive(Debug, Clone)]
pub struct Packages {
    root: PathBuf,
}

/// The folder of build results, where cache and output of the lab live too.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
}

impl Packages {
    /// Unpacks what is missing; downloads at most once, also when several labs start together.
    pub fn unpack() -> Result<Self> {
        static ONCE: Mutex<()> = Mutex::new(());
        let _guard = ONCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let root = std::env::var_os("MTA_TRACE_LAB_CACHE").map_or_else(|| target_dir().join("lab-cache"), PathBuf::from);
        std::fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("resolve {}", root.display()))?;
        for (name, packages) in SETS {
            fetch(&root, name, packages)?;
        }
        let packages = Self { root };
        let missing = packages.missing_libraries()?;
        if !missing.is_empty() {
            fetch(&packages.root, "libraries", &missing)?;
        }
        Ok(packages)
    }

    /// A file of the sendmail packages, by its path in them.
    pub fn sendmail(&self, path: &str) -> PathBuf {
        self.root.join("sendmail").join(path)
    }

    /// Postfix's load generator.
    pub fn smtp_source(&self) -> PathBuf {
        self.root.join("postfix/usr/sbin/smtp-source")
    }

    /// Value of `LD_LIBRARY_PATH` for all of them.
    pub fn library_path(&self) -> String {
        let arch = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries = self.root.join("libraries");
        let dirs = [libraries.join("usr/lib").join(&arch), libraries.join("lib").join(&arch), self.root.join("postfix/usr/lib/postfix")];
        dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":")
    }

    /// A command with the library path set.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", self.library_path()).stdin(Stdio::null());
        command
    }

    fn missing_libraries(&self) -> Result<Vec<&'static str>> {
        let mut missing = Vec::new();
        for path in ["usr/libexec/sendmail/sendmail", "usr/libexec/sendmail/makemap"] {
            let output = Command::new("ldd").arg(self.sendmail(path)).output().context("run ldd")?;
            let text = String::from_utf8_lossy(&output.stdout);
            for soname in text.lines().filter(|line| line.contains("not found")).filter_map(|line| line.split_whitespace().next()) {
                let Some((_, package)) = LIBRARIES.iter().find(|(name, _)| *name == soname) else {
                    bail!("{path} needs {soname}, and the lab does not know its package");
                };
                missing.push(*package);
            }
        }
        missing.sort_unstable();
        missing.dedup();
        Ok(missing)
    }
}

/// Installs the ordinary tools that the lab runs, where they are missing.
pub fn setup() -> Result<()> {
    let tools = [("ip", "iproute2"), ("nft", "nftables"), ("openssl", "openssl")];
    let missing: Vec<&str> = tools.iter().filter(|(tool, _)| !is_in_path(tool)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    update_lists()?;
    let mut command = Command::new("apt-get");
    command.args(["install", "-y", "--no-install-recommends"]).args(&missing).env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut command)
}

fn is_in_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(tool).is_file())
}

fn update_lists() -> Result<()> {
    let known = Command::new("apt-cache").args(["show", "sendmail-bin"]).output().context("run apt-cache")?;
    if known.status.success() && !known.stdout.is_empty() {
        return Ok(());
    }
    run(Command::new("apt-get").arg("update"))
}

fn fetch(root: &Path, name: &str, packages: &[&str]) -> Result<()> {
    let done = root.join(name);
    if done.is_dir() {
        return Ok(());
    }
    update_lists()?;
    let part = root.join(format!("{name}.{}.part", std::process::id()));
    let debs = part.join("debs");
    std::fs::create_dir_all(&debs).with_context(|| format!("create {}", debs.display()))?;
    run(Command::new("apt-get").arg("download").args(packages).current_dir(&debs))?;
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

/// Runs a command to its end and fails with its stderr.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
