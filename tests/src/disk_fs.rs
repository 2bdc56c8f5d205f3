//! The operations of the slow disk: what mail servers ask of a queue directory, done in a folder.
//!
//! Inode numbers are the folder's own. An `fsync` takes the time that the scenario gives it and no other: what a test queues
//! need not survive. Not here: links, extended attributes, locks (the kernel keeps those of FUSE itself), and who may do what.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::disk::Delays;
use crate::scenario::DiskOperation;

/// Nobody else changes the folder.
const TTL: Duration = Duration::from_secs(1);

/// The folder and what is open of it.
pub struct Folder {
    root: PathBuf,
    delays: Delays,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Where an inode was seen last.
    paths: HashMap<u64, PathBuf>,
    files: HashMap<u64, File>,
    next: u64,
}

impl Folder {
    /// Nothing of it is open.
    pub fn new(root: PathBuf, delays: Delays) -> Result<Self> {
        let mut table = Table::default();
        table.paths.insert(INodeNo::ROOT.0, root.clone());
        fs::metadata(&root).with_context(|| format!("stat {}", root.display()))?;
        Ok(Self { root, delays, table: Mutex::new(table) })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, inode: INodeNo) -> io::Result<PathBuf> {
        self.table().paths.get(&inode.0).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<PathBuf> {
        self.path(parent).map(|parent| parent.join(name))
    }

    /// A file that is open under this handle; the handle stays its own.
    fn file(&self, handle: FileHandle) -> io::Result<File> {
        self.table().files.get(&handle.0).ok_or(io::ErrorKind::NotFound)?.try_clone()
    }

    fn keep(&self, file: File) -> FileHandle {
        let mut table = self.table();
        table.next += 1;
        let handle = table.next;
        table.files.insert(handle, file);
        FileHandle(handle)
    }

    /// Attributes of a path, whose inode is known from here on.
    fn found(&self, path: &Path) -> io::Result<FileAttr> {
        let attributes = attributes(&fs::symlink_metadata(path)?, path == self.root);
        self.table().paths.insert(attributes.ino.0, path.to_owned());
        Ok(attributes)
    }

    fn stat(&self, inode: INodeNo, handle: Option<FileHandle>) -> io::Result<FileAttr> {
        // A file that was unlinked has no path any more.
        match handle.and_then(|handle| self.file(handle).ok()) {
            Some(file) => file.metadata().map(|metadata| attributes(&metadata, inode == INodeNo::ROOT)),
            None => self.found(&self.path(inode)?),
        }
    }

    fn create_file(&self, request: &Request, path: &Path, mode: u32, flags: i32) -> io::Result<(FileAttr, FileHandle)> {
        let is_new = OpenFlags(flags).0 & O_EXCL != 0;
        let file = OpenOptions::new().read(true).write(true).create(true).create_new(is_new).mode(mode).open(path)?;
        fchown(&file, Some(request.uid()), Some(request.gid()))?;
        Ok((self.found(path)?, self.keep(file)))
    }

    fn change(&self, inode: INodeNo, handle: Option<FileHandle>, change: &Change) -> io::Result<FileAttr> {
        let Change { mode, uid, gid, size } = *change;
        let path = self.path(inode)?;
        if let Some(mode) = mode {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o7777))?;
        }
        if uid.is_some() || gid.is_some() {
            chown(&path, uid, gid)?;
        }
        if let Some(size) = size {
            match handle {
                Some(handle) => self.file(handle)?.set_len(size)?,
                None => OpenOptions::new().write(true).open(&path)?.set_len(size)?,
            }
        }
        self.stat(inode, handle)
    }

    fn name(&self, inode: INodeNo) -> String {
        let path = self.path(inode).unwrap_or_default();
        if path == self.root { ".".to_owned() } else { path.file_name().unwrap_or_default().to_string_lossy().into_owned() }
    }

    fn list(&self, inode: INodeNo) -> io::Result<Vec<(u64, FileType, std::ffi::OsString)>> {
        let own = [(inode.0, FileType::Directory, ".".into()), (INodeNo::ROOT.0, FileType::Directory, "..".into())];
        let entries = fs::read_dir(self.path(inode)?)?.map(|entry| {
            let entry = entry?;
            Ok((entry.metadata()?.ino(), kind(entry.file_type()?), entry.file_name()))
        });
        own.into_iter().map(Ok).chain(entries).collect()
    }
}

fn attributes(metadata: &Metadata, is_root: bool) -> FileAttr {
    FileAttr {
        ino: if is_root { INodeNo::ROOT } else { INodeNo(metadata.ino()) },
        size: metadata.size(),
        blocks: metadata.blocks(),
        atime: metadata.accessed().unwrap_or(UNIX_EPOCH),
        mtime: metadata.modified().unwrap_or(UNIX_EPOCH),
        ctime: UNIX_EPOCH + Duration::from_secs(metadata.ctime().try_into().unwrap_or_default()),
        crtime: UNIX_EPOCH,
        kind: kind(metadata.file_type()),
        perm: u16::try_from(metadata.permissions().mode() & 0o7777).unwrap_or_default(),
        nlink: u32::try_from(metadata.nlink()).unwrap_or(1),
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// `O_EXCL` and `O_TRUNC` of Linux.
const O_EXCL: i32 = 0o200;
const O_TRUNC: i32 = 0o1000;

struct Change {
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    size: Option<u64>,
}

fn kind(of: fs::FileType) -> FileType {
    if of.is_dir() {
        FileType::Directory
    } else if of.is_symlink() {
        FileType::Symlink
    } else if of.is_fifo() {
        FileType::NamedPipe
    } else if of.is_socket() {
        FileType::Socket
    } else {
        FileType::RegularFile
    }
}

fn entry(reply: ReplyEntry, made: io::Result<FileAttr>) {
    match made {
        Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
        Err(error) => reply.error(error.into()),
    }
}

fn answer(reply: ReplyEmpty, result: io::Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error.into()),
    }
}

impl Filesystem for Folder {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.child(parent, name).and_then(|path| self.found(&path)));
    }

    fn getattr(&self, _: &Request, inode: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.stat(inode, handle) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match self.change(inode, handle, &Change { mode, uid, gid, size }) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn create(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, flags: i32, reply: ReplyCreate) {
        self.delays.pass(DiskOperation::Create, &name.to_string_lossy());
        match self.child(parent, name).and_then(|path| self.create_file(request, &path, mode & !umask, flags)) {
            Ok((attributes, handle)) => reply.created(&TTL, &attributes, Generation(0), handle, FopenFlags::empty()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let opened = self.path(inode).and_then(|path| OpenOptions::new().read(true).write(true).truncate(flags.0 & O_TRUNC != 0).open(path));
        match opened {
            Ok(file) => reply.opened(self.keep(file), FopenFlags::empty()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn read(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, size: u32, _: OpenFlags, _: Option<LockOwner>, reply: ReplyData) {
        let mut buffer = vec![0; size.try_into().unwrap_or_default()];
        match self.file(handle).and_then(|file| file.read_at(&mut buffer, offset)) {
            Ok(len) => reply.data(buffer.get(..len).unwrap_or_default()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.delays.pass(DiskOperation::Write, &self.name(inode));
        match self.file(handle).and_then(|file| file.write_all_at(data, offset)) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, _: Option<LockOwner>, _: bool, reply: ReplyEmpty) {
        self.table().files.remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.delays.pass(DiskOperation::Fsync, &self.name(inode));
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.delays.pass(DiskOperation::Fsync, &self.name(inode));
        reply.ok();
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let made = self.child(parent, name).and_then(|path| {
            fs::create_dir(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & !umask & 0o7777))?;
            chown(&path, Some(request.uid()), Some(request.gid()))?;
            self.found(&path)
        });
        entry(reply, made);
    }

    /// The sockets of a mail server's own services, and its pipes.
    fn mknod(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32, reply: ReplyEntry) {
        let made = self.child(parent, name).and_then(|path| {
            let (kind, mode) = (rustix::fs::FileType::from_raw_mode(mode), rustix::fs::Mode::from_raw_mode(mode & !umask));
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, rdev.into())?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode.as_raw_mode()))?;
            chown(&path, Some(request.uid()), Some(request.gid()))?;
            self.found(&path)
        });
        entry(reply, made);
    }

    fn rename(&self, _: &Request, parent: INodeNo, name: &OsStr, to: INodeNo, new: &OsStr, _: RenameFlags, reply: ReplyEmpty) {
        self.delays.pass(DiskOperation::Rename, &name.to_string_lossy());
        let renamed = self.child(parent, name).and_then(|from| {
            let to = self.child(to, new)?;
            fs::rename(from, &to)?;
            self.found(&to).map(drop)
        });
        answer(reply, renamed);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.delays.pass(DiskOperation::Unlink, &name.to_string_lossy());
        answer(reply, self.child(parent, name).and_then(fs::remove_file));
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let entries = match self.list(inode) {
            Ok(entries) => entries,
            Err(error) => return reply.error(error.into()),
        };
        for (next, (inode, kind, name)) in (1..).zip(entries).skip(offset.try_into().unwrap_or(usize::MAX)) {
            if reply.add(INodeNo(inode), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    /// sendmail asks whether there is room for a message.
    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match rustix::fs::statvfs(&self.root) {
            Ok(it) => {
                let block = |bytes: u64| u32::try_from(bytes).unwrap_or(4096);
                reply.statfs(it.f_blocks, it.f_bfree, it.f_bavail, it.f_files, it.f_ffree, block(it.f_bsize), 255, block(it.f_frsize));
            }
            Err(error) => reply.error(Errno::from_i32(error.raw_os_error())),
        }
    }
}
