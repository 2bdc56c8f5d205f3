//! What causes have in common that are told by who is at the far end of a socket: one wait goes from the first step on it to the last.
//!
//! Not here: how the far end is known (each cause).

use super::{Explained, Match, Present, outcome};
use crate::event::Endpoint;
use crate::report::Cause;
use crate::wait::Step;
use mta_trace_common::syscalls::Call;

/// Whether a step belongs to a wait for such a peer. What does not block begins none, but may tell what a poll waits for next.
pub(super) fn recognise(cause: Cause, step: &Step, is_peer: bool, present: Option<&Present>) -> Match {
    // The client's socket is nobody else's.
    if step.client.is_some() {
        return Match::No;
    }
    let inode = step.any_socket().map(|socket| socket.inode);
    match present.filter(|present| inode.is_some_and(|inode| present.knows(inode))) {
        Some(present) if present.is(cause) => Match::Continues,
        // The wait for its connection turns out to be one for this peer.
        Some(present) if is_peer && (present.is(Cause::Network) || present.is(Cause::Unknown)) => Match::Continues,
        _ if is_peer => Match::Begins,
        _ => Match::No,
    }
}

/// The peer as the target, and how often it was tried.
pub(super) fn explain(steps: &[Step]) -> Explained {
    let socket = steps.iter().find_map(Step::any_socket);
    let target = socket.and_then(|socket| socket.peer.as_ref()).map(Endpoint::to_string);
    let mut explained = Explained::of(steps).with_target(target);
    explained.attempts = outcome::connects(steps);
    explained
}

/// The peer's path.
pub(super) fn unix_path(step: &Step) -> Option<&str> {
    match step.any_socket()?.peer.as_ref()? {
        Endpoint::Unix(path) => Some(path),
        Endpoint::Inet(_) => None,
    }
}

/// Whether the peer listens on one of these TCP ports. A port is evidence only where the server itself connected to it.
pub(super) fn is_on_port(step: &Step, ports: &[u16]) -> bool {
    let socket = step.any_socket().filter(|socket| socket.proto == crate::event::Proto::Tcp);
    socket.and_then(crate::state::Socket::peer_port).is_some_and(|port| ports.contains(&port)) && step.call != Some(Call::Accept)
}
