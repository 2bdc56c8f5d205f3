//! `name-service`: users, groups or hosts are asked of a local daemon through its unix socket: nscd, sssd, systemd-resolved, systemd-userdbd.
//!
//! Nothing of what is said there is captured: the evidence is the address of the peer.

use super::{Match, Present, peer};
use crate::report::Cause;
use crate::wait::Step;

/// Where the sockets of sssd and of systemd's services lie.
const FOLDERS: &[&str] = &["/sss/pipes/", "/systemd/resolve/", "/systemd/userdb/"];

fn is_it(step: &Step) -> bool {
    peer::unix_path(step).is_some_and(|path| path.ends_with("/nscd/socket") || FOLDERS.iter().any(|folder| path.contains(folder)))
}

pub(super) fn recognise(step: &Step, present: Option<&Present>) -> Match {
    peer::recognise(Cause::NameService, step, is_it(step), present)
}
