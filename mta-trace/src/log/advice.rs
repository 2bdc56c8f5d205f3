//! What to do about a file that cannot be opened, written or read: the end of the sentence that says so.

use std::io;

/// Behind the error; empty where the error says it all.
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; look at the name, and whether its folder is there",
        io::ErrorKind::PermissionDenied => "; run as the file's owner or as root, or choose another place",
        io::ErrorKind::IsADirectory => "; name a file in it",
        io::ErrorKind::NotADirectory => "; what stands before a slash must be a folder",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room, or choose another place",
        io::ErrorKind::ReadOnlyFilesystem => "; choose another place",
        _ => "",
    }
}
