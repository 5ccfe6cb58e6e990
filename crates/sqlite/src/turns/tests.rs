//! Who runs when: with threads, and with an order that conditions enforce, not sleeps.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::{FIRST_CALLS, Turns, pass_on, rest};

const PATIENCE: Duration = Duration::from_secs(60);

fn turns(at_once: usize) -> Arc<Turns> {
    Turns::new(at_once, Arc::new(Instant::now))
}

fn wait_until(turns: &Turns, condition: impl Fn(usize, usize) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = turns.state();
        if condition(state.first.len(), state.again.len()) {
            return;
        }
        drop(state);
        assert!(Instant::now() < deadline, "it never came to that");
        thread::yield_now();
    }
}

/// Runs until told to end, and asks all the time.
fn runs_on<'s>(
    scope: &'s Scope<'s, '_>,
    turns: &'s Arc<Turns>,
    ends: &'s AtomicBool,
    started: Sender<()>,
) -> ScopedJoinHandle<'s, u32> {
    scope.spawn(move || {
        let _turn = turns.take();
        started.send(()).unwrap();
        let mut waits = 0;
        while !ends.load(Ordering::Acquire) {
            waits += u32::from(pass_on());
        }
        waits
    })
}

#[test]
fn no_more_run_than_may() {
    let turns = turns(2);
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let turn = turns.take();
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    running.fetch_sub(1, Ordering::SeqCst);
                    drop(turn);
                }
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 2);
    assert_eq!(turns.state().running, 0);
}

#[test]
fn a_newcomer_runs_while_more_than_may_run_for_ever() {
    let turns = turns(2);
    let ends = AtomicBool::new(false);
    let (started, starts) = mpsc::channel();
    thread::scope(|scope| {
        let long: Vec<_> = (0..4).map(|_| runs_on(scope, &turns, &ends, started.clone())).collect();
        for _ in 0..4 {
            starts.recv_timeout(PATIENCE).expect("each of them gets its turn");
        }
        let (done, short) = mpsc::channel();
        let newcomer = Arc::clone(&turns);
        thread::spawn(move || {
            for _ in 0..10 {
                drop(newcomer.take());
            }
            done.send(()).unwrap();
        });
        let came_through = short.recv_timeout(PATIENCE);
        ends.store(true, Ordering::Release);
        came_through.expect("those that run for ever stand back");
        assert!(long.into_iter().all(|thread| thread.join().unwrap() > 0));
    });
    assert_eq!(turns.state().running, 0);
}

#[test]
fn newcomers_go_first_but_for_every_fourth_call() {
    let turns = turns(1);
    let order = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let turn = turns.take();
        let stands = |name: &'static str, wants_again: bool| {
            let (turns, order) = (&turns, &order);
            scope.spawn(move || {
                if wants_again {
                    turns.enter(super::Line::Again);
                } else {
                    turns.enter(super::Line::First);
                }
                order.lock().unwrap().push(name);
                turns.leave();
            });
        };
        stands("long", true);
        wait_until(&turns, |_, again| again == 1);
        for place in 0..5 {
            stands("new", false);
            wait_until(&turns, |first, _| first > place);
        }
        drop(turn);
    });
    assert_eq!(FIRST_CALLS, 3);
    assert_eq!(order.into_inner().unwrap(), ["new", "new", "new", "long", "new", "new"]);
}

#[test]
fn who_rests_holds_no_turn() {
    let turns = turns(1);
    let (rests, resting) = mpsc::channel();
    let (wake, woken) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let turns = &turns;
        scope.spawn(move || {
            let _turn = turns.take();
            rest(|| {
                rests.send(()).unwrap();
                woken.recv().unwrap();
            });
            assert_eq!(turns.state().running, 1, "it runs again");
        });
        resting.recv_timeout(PATIENCE).unwrap();
        // It would wait for ever behind one that rests with its turn.
        drop(turns.take());
        wake.send(()).unwrap();
    });
    assert_eq!(turns.state().running, 0);
    assert_eq!(rest(|| 7), 7, "a thread without a turn just waits");
}

#[test]
fn a_thread_that_never_asks_cannot_keep_the_others() {
    let turns = turns(1);
    let turn = turns.take();
    let other = Arc::clone(&turns);
    thread::spawn(move || drop(other.take())).join().unwrap();
    assert_eq!(turns.state().running, 1);
    drop(turn);
    assert_eq!(turns.state().running, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_steps_back_does_so_once_and_alone() {
    let own = || rustix::process::getpriority_process(None).unwrap();
    let before = own();
    let lowered = thread::spawn(move || {
        super::step_back();
        super::step_back();
        own()
    });
    assert_eq!(lowered.join().unwrap(), (before + super::NICENESS).min(19));
    assert_eq!(own(), before, "another thread");
}
