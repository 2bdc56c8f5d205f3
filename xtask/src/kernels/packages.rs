//! Kernels and the tools that start them, out of Debian packages: unpacked below `target/kernels`, nothing is installed.
//!
//! The machine's own apt says where packages are; other suites of the same mirror (older and newer kernels) are asked with a private state.

use crate::shell::{output, root, run};
use anyhow::{Context as _, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Suites of the mirror that have the kernels which the machine's own does not.
const SUITES: [&str; 3] = ["bullseye-security", "trixie-security", "trixie-backports"];
/// Flavour of the kernels: small, with what a virtual machine has.
const FLAVOUR: &str = "-cloud-amd64";
const PREFIX: &str = "linux-image-";

/// Where everything is kept.
pub fn cache() -> PathBuf {
    root().join("target/kernels")
}

/// QEMU, virtiofsd and a static busybox.
pub struct Tools {
    root: PathBuf,
}

impl Tools {
    /// Unpacks them, the first time.
    pub fn get() -> anyhow::Result<Self> {
        let tools = Self { root: cache().join("tools") };
        if !tools.root.join("complete").is_file() {
            let debs = fresh(&cache().join("tools.debs"))?;
            let mut command = Command::new("apt-get");
            command.args(["-qq", "-y", "--no-install-recommends", "--download-only", "-o", "Debug::NoLocking=1"]);
            command.args(["-o", &format!("Dir::Cache={}", debs.display()), "-o", &format!("Dir::Cache::archives={}", debs.display())]);
            command.args(["install", "qemu-system-x86", "busybox-static"]);
            fs::create_dir_all(debs.join("partial"))?;
            updated(|| run(&mut command))?;
            fresh(&tools.root)?;
            unpack_all(&debs, &tools.root)?;
            fs::write(tools.root.join("complete"), "")?;
        }
        Ok(tools)
    }

    fn find(&self, places: &[&str]) -> anyhow::Result<PathBuf> {
        let here = places.iter().map(|place| self.root.join(place)).chain(places.iter().map(|place| Path::new("/").join(place)));
        here.into_iter().find(|path| path.is_file()).with_context(|| format!("no {} in the unpacked packages", places.join(" or ")))
    }

    /// A static busybox.
    pub fn busybox(&self) -> anyhow::Result<PathBuf> {
        self.find(&["bin/busybox", "usr/bin/busybox"])
    }

    /// A program of the unpacked packages, with their libraries.
    pub fn command(&self, places: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(self.find(places)?);
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|place| self.root.join(place).display().to_string());
        command.env("LD_LIBRARY_PATH", libraries.join(":"));
        Ok(command)
    }

    /// Where QEMU finds its firmware.
    pub fn firmware(&self) -> [PathBuf; 3] {
        ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"].map(|place| self.root.join(place))
    }
}

/// An unpacked kernel.
pub struct Kernel {
    /// Its release, `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// The image.
    pub image: PathBuf,
    /// `lib/modules/RELEASE`.
    pub modules: PathBuf,
}

impl Kernel {
    /// The newest of a series (`6.1`), unpacked; `None`: the mirror has none.
    pub fn get(series: &str, tools: &Tools) -> anyhow::Result<Option<Self>> {
        let Some((suite, package)) = pick(series)? else { return Ok(None) };
        let folder = cache().join(&package);
        if !folder.join("complete").is_file() {
            let debs = fresh(&cache().join(format!("{package}.debs")))?;
            download(suite, &package, &debs)?;
            for part in parts(&debs)? {
                download(suite, &part, &debs)?;
            }
            fresh(&folder)?;
            unpack_all(&debs, &folder)?;
            fs::remove_dir_all(&debs)?;
            prepare(&folder, tools)?;
            fs::write(folder.join("complete"), "")?;
        }
        Self::in_folder(&folder).map(Some)
    }

    fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let modules = only_entry(&folder.join("lib/modules"))?;
        let release = modules.file_name().context("a folder of modules")?.to_string_lossy().into_owned();
        let images = [folder.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
        let image = images.into_iter().find(|path| path.is_file()).with_context(|| format!("no kernel image in {}", folder.display()))?;
        Ok(Self { release, image, modules })
    }
}

/// Suite (none: the machine's own) and name of the newest package of a series.
fn pick(series: &str) -> anyhow::Result<Option<(Option<&'static str>, String)>> {
    for suite in std::iter::once(None).chain(SUITES.map(Some)) {
        let mut command = apt(suite, "apt-cache")?;
        command.args(["search", "--names-only", "^linux-image-[0-9]"]);
        let list = output(&mut command)?;
        let names = list.lines().filter_map(|line| line.split(' ').next());
        let of_series = names.filter(|name| is_of_series(name, series));
        if let Some(newest) = of_series.max_by_key(|name| numbers(name)) {
            return Ok(Some((suite, newest.to_owned())));
        }
    }
    Ok(None)
}

/// `linux-image-6.1.0-56-cloud-amd64` is of the series `6.1`; those with another word in them (`-rt-`, `-dbg`) are not meant.
fn is_of_series(package: &str, series: &str) -> bool {
    let version = package.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(FLAVOUR));
    let rest = version.filter(|version| !version.contains("unsigned")).and_then(|version| version.strip_prefix(series));
    rest.is_some_and(|rest| rest.starts_with(['.', '-', '+']))
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// apt as it is, or asking another suite of the same mirror, with a state of its own.
fn apt(suite: Option<&str>, program: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    let Some(suite) = suite else { return Ok(command) };
    let state = cache().join("apt").join(suite);
    let is_new = !state.join("complete").is_file();
    fs::create_dir_all(state.join("lists/partial"))?;
    fs::create_dir_all(state.join("archives/partial"))?;
    let sources = state.join("sources.list");
    if is_new {
        fs::write(state.join("status"), "")?;
        fs::write(&sources, format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {} {suite} main\n", mirror(suite)?))?;
    }
    let set = |command: &mut Command| {
        for (key, value) in [
            ("Dir::Etc::sourcelist", sources.display().to_string()),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::State", state.display().to_string()),
            ("Dir::State::lists", state.join("lists").display().to_string()),
            ("Dir::State::status", state.join("status").display().to_string()),
            ("Dir::Cache", state.display().to_string()),
            ("Dir::Cache::archives", state.join("archives").display().to_string()),
            ("Acquire::Languages", "none".to_owned()),
            ("Debug::NoLocking", "1".to_owned()),
            ("APT::Sandbox::User", "root".to_owned()),
        ] {
            command.args(["-o", &format!("{key}={value}")]);
        }
    };
    if is_new {
        let mut update = Command::new("apt-get");
        set(&mut update);
        run(update.args(["-qq", "update"]))?;
        fs::write(state.join("complete"), "")?;
    }
    set(&mut command);
    Ok(command)
}

/// Where the machine's own apt gets its packages, or its security updates.
fn mirror(suite: &str) -> anyhow::Result<String> {
    let targets = output(Command::new("apt-get").args(["indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]))?;
    let wants_security = suite.ends_with("-security");
    let found = targets.lines().filter_map(|line| line.split_once(' ')).find(|(release, _)| release.ends_with("-security") == wants_security);
    found.map(|(_, uri)| uri.to_owned()).with_context(|| format!("the machine's apt names no mirror for {suite}"))
}

fn download(suite: Option<&str>, package: &str, folder: &Path) -> anyhow::Result<()> {
    println!("fetching {package}");
    let get = || {
        let mut command = apt(suite, "apt-get")?;
        let status = command.args(["-qq", "-o", "APT::Sandbox::User=root", "download", package]).current_dir(folder).status()?;
        ensure!(status.success(), "apt-get download {package}: {status}");
        Ok(())
    };
    updated(get)
}

/// Tries; and once more with fresh lists, since old ones name packages that are gone.
fn updated(mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    if work().is_ok() {
        return Ok(());
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    work()
}

/// From 7.0 on the image and the modules are packages of their own.
fn parts(debs: &Path) -> anyhow::Result<Vec<String>> {
    let deb = only_entry(debs)?;
    let depends = output(Command::new("dpkg-deb").arg("-f").arg(deb).arg("Depends"))?;
    let names = depends.split([',', ' ', '|', '(', ')', '=']).filter(|name| name.ends_with(FLAVOUR));
    Ok(names.filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-")).map(str::to_owned).collect())
}

fn unpack_all(debs: &Path, to: &Path) -> anyhow::Result<()> {
    for deb in entries(debs)?.iter().filter(|path| path.extension().is_some_and(|extension| extension == "deb")) {
        run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(to))?;
    }
    Ok(())
}

/// Modules as busybox can load them, and what they depend on.
fn prepare(folder: &Path, tools: &Tools) -> anyhow::Result<()> {
    if !folder.join("lib/modules").is_dir() {
        std::os::unix::fs::symlink("usr/lib", folder.join("lib"))?;
    }
    let release = only_entry(&folder.join("lib/modules"))?;
    let release = release.file_name().context("a folder of modules")?;
    run(Command::new("find").arg("-L").arg(folder.join("lib/modules")).args(["-name", "*.ko.xz", "-exec", "xz", "-d", "{}", "+"]))?;
    run(Command::new(tools.busybox()?).arg("depmod").arg("-b").arg(folder).arg(release))
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn only_entry(folder: &Path) -> anyhow::Result<PathBuf> {
    match entries(folder)?.as_slice() {
        [only] => Ok(only.clone()),
        several => bail!("{} holds {} things instead of one", folder.display(), several.len()),
    }
}

/// An empty folder.
pub fn fresh(folder: &Path) -> anyhow::Result<PathBuf> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_a_series() {
        assert!(is_of_series("linux-image-6.1.0-56-cloud-amd64", "6.1"));
        assert!(is_of_series("linux-image-6.12.117+deb12-cloud-amd64", "6.12"));
        assert!(!is_of_series("linux-image-6.12.117+deb12-cloud-amd64", "6.1"));
        assert!(!is_of_series("linux-image-6.1.0-56-amd64", "6.1"));
        assert!(!is_of_series("linux-image-6.1.0-56-cloud-amd64-unsigned", "6.1"));
        assert!(numbers("linux-image-6.1.0-9-cloud-amd64") < numbers("linux-image-6.1.0-56-cloud-amd64"));
    }
}
