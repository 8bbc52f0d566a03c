//! Work spread over threads: with results in the order of the items, or as they come.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// The two ends of a thread: its items and its results.
type Pipe<I, T, E> = (SyncSender<I>, Receiver<Result<T, E>>);

/// Passes every item through `work` on one of `threads` threads, and the results to `sink` in the order of the items.
///
/// The calling thread takes the items from the iterator and runs `sink`. Each thread has its own `state`, and at most `ahead`
/// items that `sink` has not seen yet: memory is bounded, and the results do not depend on the number of threads.
///
/// # Errors
/// The first error of the iterator, `state`, `work` or `sink` ends the work.
pub(crate) fn map_in_order<I: Send, S, T: Send, E: Send>(
    items: impl IntoIterator<Item = Result<I, E>>,
    (threads, ahead): (usize, usize),
    state: impl Fn() -> Result<S, E> + Sync,
    work: impl Fn(&mut S, I) -> Result<T, E> + Sync,
    mut sink: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.max(1);
    let turn = |items: Receiver<I>, results: SyncSender<Result<T, E>>| {
        let mut state = state();
        for item in items {
            let result = match &mut state {
                Ok(state) => work(state, item),
                Err(_) => break,
            };
            let failed = result.is_err();
            // Fails when another thread has failed, and the caller has left.
            if results.send(result).is_err() || failed {
                return;
            }
        }
        if let Err(error) = state {
            let _caller_has_left = results.send(Err(error));
        }
    };
    std::thread::scope(|scope| {
        // Dropped before the scope joins the threads, so that they end when this fails.
        let mut pipes: Vec<Pipe<I, T, E>> = Vec::with_capacity(threads);
        for _ in 0..threads {
            let (sender, items) = sync_channel(ahead);
            let (results, receiver) = sync_channel(ahead);
            let turn = &turn;
            scope.spawn(move || turn(items, results));
            pipes.push((sender, receiver));
        }
        let mut pending: VecDeque<usize> = VecDeque::with_capacity(threads * ahead);
        for (number, item) in items.into_iter().enumerate() {
            if pending.len() == threads * ahead
                && let Some(thread) = pending.pop_front()
            {
                // A thread that ends without a result has panicked, and the scope panics with it.
                let Ok(result) = pipes[thread].1.recv() else {
                    return Ok(());
                };
                sink(result?)?;
            }
            let thread = number % threads;
            // A thread that has failed takes no more items; its error is in the queue of its results.
            let _may_have_failed = pipes[thread].0.send(item?);
            pending.push_back(thread);
        }
        for thread in pending {
            let Ok(result) = pipes[thread].1.recv() else {
                break;
            };
            sink(result?)?;
        }
        Ok(())
    })
}

/// Passes every item through `work` on several threads, each with its own `state`, and hands the results to `sink` in any order.
///
/// # Errors
/// The error of a thread whose `work` failed; the others then stop after the item at hand.
pub(crate) fn for_each<I: Sync, S, T: Send, E: Send>(
    items: &[I],
    threads: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &I) -> Result<T, E> + Sync,
    sink: impl FnMut(T) + Send,
) -> Result<(), E> {
    /// Results per lock of `sink`: large enough to avoid contention, small enough to hold little memory.
    const BATCH: usize = 256;
    let next = AtomicUsize::new(0);
    let sink = Mutex::new(sink);
    let deliver = |results: &mut Vec<T>| {
        let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
        results.drain(..).for_each(&mut *sink);
    };
    let turn = || {
        let mut state = state();
        let mut results = Vec::with_capacity(BATCH);
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = work(&mut state, item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            results.push(result?);
            if results.len() == BATCH {
                deliver(&mut results);
            }
        }
        deliver(&mut results);
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(turn)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(broken: Option<u32>, threads: usize, full_after: usize) -> Result<Vec<u32>, String> {
        let mut taken = Vec::new();
        let items = (0..40).map(Ok);
        let work = |done: &mut u32, item| {
            *done += 1;
            if Some(item) == broken {
                return Err("broken".to_owned());
            }
            Ok(item)
        };
        let sink = |item| {
            if taken.len() == full_after {
                return Err("full".to_owned());
            }
            taken.push(item);
            Ok(())
        };
        map_in_order(items, (threads, 3), || Ok(0), work, sink).map(|()| taken)
    }

    #[test]
    fn results_come_in_order_and_a_failure_ends_the_work() {
        for threads in [0, 1, 2, 7, 100] {
            let all = (0..40).collect();
            assert_eq!(pass(None, threads, 99), Ok(all), "{threads} threads");
            let broken = Err("broken".to_owned());
            assert_eq!(pass(Some(14), threads, 99), broken, "{threads} threads");
            assert_eq!(
                pass(None, threads, 3),
                Err("full".to_owned()),
                "{threads} threads"
            );
        }
    }

    #[test]
    fn errors_of_items_and_states_end_the_work() {
        let work = |(): &mut (), item: u32| Ok(item);
        let items = [Ok(1), Ok(2), Err("item")];
        let result = map_in_order(items, (2, 1), || Ok(()), work, |_| Ok(()));
        assert_eq!(result, Err("item"));
        let result = map_in_order(items, (2, 1), || Err("state"), work, |_| Ok(()));
        assert_eq!(result, Err("state"));
    }

    #[test]
    fn every_item_is_worked_on_once() {
        let items: Vec<u32> = (0..1000).collect();
        for threads in [0, 1, 3] {
            let mut all = Vec::new();
            let work = |(): &mut (), item: &u32| Ok::<_, ()>(*item);
            for_each(&items, threads, || (), work, |item| all.push(item)).unwrap();
            all.sort_unstable();
            assert_eq!(all, items, "{threads} threads");
        }
        let work = |(): &mut (), item: &u32| if *item == 7 { Err("seven") } else { Ok(()) };
        assert_eq!(for_each(&items, 2, || (), work, |()| ()), Err("seven"));
    }
}
