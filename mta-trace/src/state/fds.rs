//! A process's descriptors, as far as the events tell them.

use crate::event::{Endpoint, Proto, SocketId};
use std::collections::{BTreeMap, BTreeSet};

/// A socket behind a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Inode in sockfs.
    pub inode: u64,
    /// Kind.
    pub proto: Proto,
    /// Local address.
    pub local: Option<Endpoint>,
    /// Peer.
    pub peer: Option<Endpoint>,
}

impl Socket {
    /// From an event or a seed.
    pub fn new(id: &SocketId, peer: Option<&Endpoint>) -> Self {
        Self { inode: id.inode, proto: id.proto, local: id.local.clone(), peer: peer.or(id.peer.as_ref()).cloned() }
    }

    /// The peer's port, over IP.
    pub fn peer_port(&self) -> Option<u16> {
        self.peer.as_ref().and_then(Endpoint::port)
    }
}

/// What is behind a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A path (`pipe:[123]` and the like included).
    File(String),
    /// A socket.
    Socket(Socket),
}

impl Object {
    /// The socket, if it is one.
    pub fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::File(_) => None,
        }
    }

    /// Whether it is one end of a pipe.
    pub fn is_pipe(&self) -> bool {
        matches!(self, Self::File(path) if path.starts_with("pipe:"))
    }
}

/// Descriptors.
#[derive(Clone, Debug, Default)]
pub struct Fds {
    objects: BTreeMap<i32, Object>,
    /// Those that were open already when the process was forked.
    inherited: BTreeSet<i32>,
}

impl Fds {
    /// What is behind it.
    pub fn object(&self, fd: i32) -> Option<&Object> {
        self.objects.get(&fd)
    }

    /// Whether it is a pipe that existed when the process was forked: who is at its other end, the parent decided.
    pub fn is_inherited_pipe(&self, fd: i32) -> bool {
        self.inherited.contains(&fd) && self.object(fd).is_some_and(Object::is_pipe)
    }

    /// Whether one of them is this socket.
    pub fn holds(&self, inode: u64) -> bool {
        self.objects.values().any(|object| object.socket().is_some_and(|socket| socket.inode == inode))
    }

    pub(super) fn set(&mut self, fd: i32, object: Object) {
        // A call on a socket whose peer is not told (yet) must not lose what connect told.
        let known = self.object(fd).and_then(Object::socket);
        let object = match (object, known) {
            (Object::Socket(mut socket), Some(known)) if socket.inode == known.inode => {
                socket.peer = socket.peer.or_else(|| known.peer.clone());
                // That of a unix socket is told by /proc alone.
                socket.local = socket.local.or_else(|| known.local.clone());
                Object::Socket(socket)
            }
            (object, _) => object,
        };
        if self.object(fd) != Some(&object) {
            self.inherited.remove(&fd);
        }
        self.objects.insert(fd, object);
    }

    pub(super) fn close(&mut self, first: i32, last: i32) {
        let is_open = |fd: i32| fd < first || fd > last;
        self.objects.retain(|&fd, _| is_open(fd));
        self.inherited.retain(|&fd| is_open(fd));
    }

    /// What a forked process begins with (fork(2)).
    pub(super) fn forked(&self) -> Self {
        Self { objects: self.objects.clone(), inherited: self.objects.keys().copied().collect() }
    }
}
