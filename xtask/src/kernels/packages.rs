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
/// Downloads packages with what they need and what is not installed.
const DOWNLOAD: [&str; 7] = ["-qq", "-y", "--no-install-recommends", "--download-only", "-o", "Debug::NoLocking=1", "install"];
/// apt tries again after 1, 2, 4 to 30 s: so a network that is away for two minutes is no failure.
const PATIENCE: [&str; 2] = ["-o", "Acquire::Retries=8"];
const PREFIX: &str = "linux-image-";

/// Architectures of Debian that machines are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// Debian's word.
    const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// How the kernels' names end: small ones, with what a virtual machine has.
    const fn flavour(self) -> &'static str {
        match self {
            Self::Amd64 => "-cloud-amd64",
            Self::Arm64 => "-cloud-arm64",
        }
    }
}

/// Where everything is kept.
pub fn cache() -> PathBuf {
    root().join("target/kernels")
}

/// QEMU, virtiofsd and a static busybox.
pub struct Tools {
    root: PathBuf,
}

impl Tools {
    /// Unpacks them, the first time; for another architecture with its QEMU and a compiler.
    pub fn get(arch: Arch) -> anyhow::Result<Self> {
        let (name, packages): (&str, &[&str]) = match arch {
            Arch::Amd64 => ("tools", &["qemu-system-x86", "busybox-static"]),
            Arch::Arm64 => ("tools.arm64", &["qemu-system-arm", "busybox-static", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]),
        };
        let tools = Self { root: cache().join(name) };
        if !tools.root.join("complete").is_file() {
            let debs = fresh(&cache().join(format!("{name}.debs")))?;
            let mut command = Command::new("apt-get");
            command.args(PATIENCE).args(["-o", &format!("Dir::Cache={}", debs.display()), "-o", &format!("Dir::Cache::archives={}", debs.display())]);
            command.args(DOWNLOAD).args(packages);
            fs::create_dir_all(debs.join("partial"))?;
            updated(|| run(&mut command))?;
            fresh(&tools.root)?;
            unpack_all(&debs, &tools.root)?;
            fs::remove_dir_all(&debs)?;
            fs::write(tools.root.join("complete"), "")?;
        }
        Ok(tools)
    }

    /// Where they are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Value of `LD_LIBRARY_PATH` for them.
    pub fn libraries(&self) -> String {
        ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|place| self.root.join(place).display().to_string()).join(":")
    }

    /// A file of them, or one that is installed.
    pub fn find(&self, places: &[&str]) -> anyhow::Result<PathBuf> {
        let here = places.iter().map(|place| self.root.join(place)).chain(places.iter().map(|place| Path::new("/").join(place)));
        here.into_iter().find(|path| path.is_file()).with_context(|| format!("no {} in the unpacked packages", places.join(" or ")))
    }

    /// A static busybox.
    pub fn busybox(&self) -> anyhow::Result<PathBuf> {
        self.find(&["bin/busybox", "usr/bin/busybox"])
    }

    /// The same for another architecture.
    pub fn busybox_of(&self, arch: Arch) -> anyhow::Result<PathBuf> {
        match arch {
            Arch::Amd64 => self.busybox(),
            Arch::Arm64 => Ok(Self::system(arch).join("bin/busybox")),
        }
    }

    /// The tree that is a machine's root: the host's own, or one of packages.
    pub fn system(arch: Arch) -> PathBuf {
        match arch {
            Arch::Amd64 => PathBuf::from("/"),
            Arch::Arm64 => cache().join("arm64/root"),
        }
    }

    /// A program of the unpacked packages, with their libraries.
    pub fn command(&self, places: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(self.find(places)?);
        command.env("LD_LIBRARY_PATH", self.libraries());
        Ok(command)
    }

    /// Where QEMU finds its firmware.
    pub fn firmware(&self) -> [PathBuf; 3] {
        ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"].map(|place| self.root.join(place))
    }
}

/// An unpacked kernel.
pub struct Kernel {
    /// Of what architecture.
    pub arch: Arch,
    /// Its release, `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// The image.
    pub image: PathBuf,
    /// `lib/modules/RELEASE`.
    pub modules: PathBuf,
}

impl Kernel {
    /// The newest of a series (`6.1`), unpacked; `None`: the mirror has none.
    pub fn get(arch: Arch, series: &str, tools: &Tools) -> anyhow::Result<Option<Self>> {
        let Some((suite, package)) = pick(arch, series)? else { return Ok(None) };
        let folder = cache().join(&package);
        if !folder.join("complete").is_file() {
            let debs = fresh(&cache().join(format!("{package}.debs")))?;
            download(arch, suite, &package, &debs)?;
            for part in parts(arch, &debs)? {
                download(arch, suite, &part, &debs)?;
            }
            fresh(&folder)?;
            unpack_all(&debs, &folder)?;
            fs::remove_dir_all(&debs)?;
            prepare(&folder, tools)?;
            fs::write(folder.join("complete"), "")?;
        }
        Self::in_folder(arch, &folder).map(Some)
    }

    fn in_folder(arch: Arch, folder: &Path) -> anyhow::Result<Self> {
        let modules = only_entry(&folder.join("lib/modules"))?;
        let release = modules.file_name().context("a folder of modules")?.to_string_lossy().into_owned();
        let images = [folder.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
        let image = images.into_iter().find(|path| path.is_file()).with_context(|| format!("no kernel image in {}", folder.display()))?;
        Ok(Self { arch, release, image, modules })
    }
}

/// Suite (none: the machine's own) and name of the newest package of a series.
fn pick(arch: Arch, series: &str) -> anyhow::Result<Option<(Option<&'static str>, String)>> {
    for suite in std::iter::once(None).chain(SUITES.map(Some)) {
        let mut command = apt(arch, suite, "apt-cache")?;
        command.args(["search", "--names-only", "^linux-image-[0-9]"]);
        let list = output(&mut command)?;
        let names = list.lines().filter_map(|line| line.split(' ').next());
        let of_series = names.filter(|name| is_of_series(name, arch, series));
        if let Some(newest) = of_series.max_by_key(|name| numbers(name)) {
            return Ok(Some((suite, newest.to_owned())));
        }
    }
    Ok(None)
}

/// `linux-image-6.1.0-56-cloud-amd64` is of the series `6.1`; those with another word in them (`-rt-`, `-dbg`) are not meant.
fn is_of_series(package: &str, arch: Arch, series: &str) -> bool {
    let version = package.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(arch.flavour()));
    let rest = version.filter(|version| !version.contains("unsigned")).and_then(|version| version.strip_prefix(series));
    rest.is_some_and(|rest| rest.starts_with(['.', '-', '+']))
}

/// The numbers in a version, for comparison.
pub fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Of a release, the first two.
pub fn version(release: &str) -> (u64, u64) {
    match numbers(release).as_slice() {
        [major, minor, ..] => (*major, *minor),
        _ => (0, 0),
    }
}

/// apt as it is, or asking another suite of the same mirror, with a state of its own.
fn apt(arch: Arch, suite: Option<&str>, program: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    command.args(PATIENCE);
    if suite.is_none() && arch == Arch::Amd64 {
        return Ok(command);
    }
    let state = state(arch, suite);
    let is_new = !state.join("complete").is_file();
    fs::create_dir_all(state.join("lists/partial"))?;
    fs::create_dir_all(state.join("archives/partial"))?;
    let sources = state.join("sources.list");
    if is_new {
        fs::write(state.join("status"), "")?;
        fs::write(
            &sources,
            suite.map_or_else(own_suites, |suite| Ok(vec![(suite.to_owned(), mirror(suite)?)]))?.iter().map(source).collect::<String>(),
        )?;
    }
    let set = |command: &mut Command| {
        for (key, value) in [
            ("APT::Architecture", arch.name().to_owned()),
            ("APT::Architectures", arch.name().to_owned()),
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
        run(update.args(PATIENCE).args(["-qq", "update"]))?;
        fs::write(state.join("complete"), "")?;
    }
    set(&mut command);
    Ok(command)
}

/// Where apt keeps what it knows of a suite.
fn state(arch: Arch, suite: Option<&str>) -> PathBuf {
    cache().join("apt").join(format!("{}.{}", suite.unwrap_or("own"), arch.name()))
}

/// A line of sources.list.
fn source((suite, uri): &(String, String)) -> String {
    format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {uri} {suite} main\n")
}

/// What the machine's own apt gets from Debian: suites and where they are.
fn own_suites() -> anyhow::Result<Vec<(String, String)>> {
    let format = ["indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Component: main"];
    let targets = output(Command::new("apt-get").args(format))?;
    Ok(targets.lines().filter_map(|line| line.split_once(' ')).map(|(suite, uri)| (suite.to_owned(), uri.to_owned())).collect())
}

/// Where the machine's own apt gets its packages, or its security updates.
fn mirror(suite: &str) -> anyhow::Result<String> {
    let wants_security = suite.ends_with("-security");
    let found = own_suites()?.into_iter().find(|(release, _)| release.ends_with("-security") == wants_security);
    found.map(|(_, uri)| uri).with_context(|| format!("the machine's apt names no mirror for {suite}"))
}

/// Downloads one package into a folder.
pub fn download(arch: Arch, suite: Option<&str>, package: &str, folder: &Path) -> anyhow::Result<()> {
    println!("fetching {package}");
    let get = || {
        let mut command = apt(arch, suite, "apt-get")?;
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
    run(Command::new("apt-get").args(PATIENCE).args(["update", "-qq"]))?;
    work()
}

/// From 7.0 on the image and the modules are packages of their own.
fn parts(arch: Arch, debs: &Path) -> anyhow::Result<Vec<String>> {
    let deb = only_entry(debs)?;
    let depends = output(Command::new("dpkg-deb").arg("-f").arg(deb).arg("Depends"))?;
    let names = depends.split([',', ' ', '|', '(', ')', '=']).filter(|name| name.ends_with(arch.flavour()));
    Ok(names.filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-")).map(str::to_owned).collect())
}

/// Downloads packages of an architecture with all that they need, for a tree of its own; gives the folder.
pub fn fetch(arch: Arch, packages: &[&str]) -> anyhow::Result<PathBuf> {
    run(apt(arch, None, "apt-get")?.args(DOWNLOAD).args(packages))?;
    Ok(state(arch, None).join("archives"))
}

/// Unpacks all packages of a folder.
pub fn unpack_all(debs: &Path, to: &Path) -> anyhow::Result<()> {
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
        assert!(is_of_series("linux-image-6.1.0-56-cloud-amd64", Arch::Amd64, "6.1"));
        assert!(is_of_series("linux-image-6.12.117+deb12-cloud-amd64", Arch::Amd64, "6.12"));
        assert!(!is_of_series("linux-image-6.12.117+deb12-cloud-amd64", Arch::Amd64, "6.1"));
        assert!(!is_of_series("linux-image-6.1.0-56-amd64", Arch::Amd64, "6.1"));
        assert!(!is_of_series("linux-image-6.1.0-56-cloud-amd64-unsigned", Arch::Amd64, "6.1"));
        assert!(numbers("linux-image-6.1.0-9-cloud-amd64") < numbers("linux-image-6.1.0-56-cloud-amd64"));
    }
}
