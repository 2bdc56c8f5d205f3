//! A completed system call of a traced thread, whichever back end tells of it: its block state is taken out, and the handler of its
//! family called. What the table says of the call is a constant of each program, so only one handler is compiled into it.
//!
//! The arguments are still in `pt_regs`; `orig_ax` and its like keep the number.

use super::{net, plain, poll, sched};
use crate::{
    emit::{Which, copy_words, now, zero_words},
    filter,
    maps::{THREADS, offset},
    task,
};
use core::mem::MaybeUninit;
use mta_trace_common::{
    config::{ACCEPTED_MATCHED, Done, REGS_WORDS, ROLE_HELPER, ROLE_LOOP, ROLE_OTHER, ROLE_SERVER, ROLE_SESSION, STATE_CPU, Thread},
    syscalls::{Capture, Emit, Word},
};

/// Whether nothing is to be done about a traced thread's call: it is told only when it was slow, and did not block. Nearly all calls.
#[inline(always)]
pub fn is_quiet(tid: u32, word: Word) -> bool {
    word.emits(Emit::Slow) && !filter::has_blocked(tid)
}

/// A traced thread's call has completed that is not quiet.
#[inline(always)]
pub fn completed(regs: u64, ret: i64, tid: u32, word: Word) {
    let Some(thread) = THREADS.get_ptr_mut(tid) else { return };
    // SAFETY: map values live as long as the program runs. Besides this program only the scheduler's hooks change the entry, and they
    // run when the thread does not.
    let thread = unsafe { &mut *thread };
    if thread.state != STATE_CPU {
        sched::catch_up(thread, now());
    }
    take(thread, regs, ret, tid);
    if is_wanted(thread, word) {
        handle(thread, &Which { tid, word });
    }
}

/// Whether anything of this call may be reported.
#[inline(always)]
fn is_wanted(thread: &Thread, word: Word) -> bool {
    let is_told = thread.role == ROLE_SESSION || thread.role == ROLE_HELPER || thread.accepted == ACCEPTED_MATCHED;
    // Of an event loop's clients the ends matter too: whoever is alone in it may be told more of.
    let is_told = is_told || thread.role == ROLE_LOOP && (word.captures(Capture::Closed) || filter::is_any_open());
    // A server that serves nobody may be given a client.
    let is_told = is_told || thread.role == ROLE_SERVER && word.captures(Capture::MessageIn);
    thread.role != ROLE_OTHER && (is_told || word.captures(Capture::Accepted))
}

/// Takes the call's block state out, and keeps its registers.
#[inline(always)]
fn take(thread: &mut Thread, regs: u64, ret: i64, tid: u32) {
    let mut done = Done { nr: task::number_in(regs), ret, since: 0, blocked_in: 0 };
    if thread.since == 0 {
        task::registers_of(regs, &raw mut thread.regs);
    } else {
        let mut now = MaybeUninit::<[u64; REGS_WORDS]>::uninit();
        task::registers_of(regs, now.as_mut_ptr());
        // SAFETY: just filled.
        let now = unsafe { now.assume_init_ref() };
        if thread.nr == done.nr && is_same(&thread.regs, now) {
            done.since = thread.since;
            done.blocked_in = thread.blocked_in;
        } else {
            sched::report_unreturned(thread, tid);
            thread.selects_valid = 0;
            // SAFETY: both are so many words.
            unsafe { copy_words::<REGS_WORDS>(thread.regs.as_mut_ptr(), now.as_ptr()) };
        }
        thread.since = 0;
        filter::clear_blocked(tid);
    }
    // SAFETY: a plain write, volatile so that what is read back is not known from here.
    unsafe { (&raw mut thread.done).write_volatile(done) };
    // No socket: the addresses are left, they count only together with an inode.
    // SAFETY: the three words before them, aligned.
    unsafe { zero_words::<3>((&raw mut thread.socket).cast()) };
}

/// Whether both are the same call: the same arguments at the same places.
#[inline(always)]
fn is_same(a: &[u64; REGS_WORDS], b: &[u64; REGS_WORDS]) -> bool {
    let mut difference = 0;
    macro_rules! compare {
        ($($i:literal)*) => { $(difference |= task::word_at(a, offset!(regs_args[$i])) ^ task::word_at(b, offset!(regs_args[$i]));)* };
    }
    compare!(0 1 2 3 4 5);
    difference == 0
}

#[inline(always)]
fn handle(thread: &mut Thread, which: &Which) {
    let is = |capture| which.word.captures(capture);
    let is_in = is(Capture::BufferIn) || is(Capture::BufferFrom);
    if is_in || is(Capture::BufferOut) || is(Capture::BufferTo) {
        net::transfer(thread, which, net::Place::Buffer, is_in);
    } else if is(Capture::VectorIn) || is(Capture::VectorOut) {
        net::transfer(thread, which, net::Place::Vector, is(Capture::VectorIn));
    } else if is(Capture::MessageIn) || is(Capture::MessageOut) {
        net::transfer(thread, which, net::Place::Message, is(Capture::MessageIn));
    } else if is(Capture::MessagesIn) || is(Capture::MessagesOut) {
        net::transfer(thread, which, net::Place::Messages, is(Capture::MessagesIn));
    } else if is(Capture::Accepted) {
        net::accept(thread, which);
    } else if is(Capture::Sockaddr) {
        net::connect(thread, which);
    } else if is(Capture::PollFds) {
        poll::poll(thread, which);
    } else if is(Capture::Selects) || is(Capture::Pselects) {
        poll::select(thread, which);
    } else {
        plain::call(thread, which);
    }
}
