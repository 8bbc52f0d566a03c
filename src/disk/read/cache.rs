//! What was read lately: bounded, shared between threads.

use super::fields::to_index;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// As many locks, so that threads seldom wait for each other.
const SHARDS: usize = 16;

/// Values by number; those that were not used for longest go first.
pub(crate) struct Cache<V: ?Sized> {
    shards: Vec<Mutex<Shard<V>>>,
    room: usize,
}

struct Shard<V: ?Sized> {
    values: HashMap<u64, (Arc<V>, u64)>,
    clock: u64,
}

impl<V: ?Sized> Cache<V> {
    /// For about `room` values.
    pub fn new(room: usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                values: HashMap::new(),
                clock: 0,
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            room: (room / SHARDS).max(1),
        }
    }

    /// The value, or what `make` gives, which is then kept. Two threads may make the same one.
    pub fn get<E>(
        &self,
        number: u64,
        make: impl FnOnce() -> Result<Arc<V>, E>,
    ) -> Result<Arc<V>, E> {
        if let Some(value) = self.recall(number) {
            return Ok(value);
        }
        let value = make()?;
        self.keep(number, &value);
        Ok(value)
    }

    /// The value, if it is still there.
    pub fn recall(&self, number: u64) -> Option<Arc<V>> {
        let shard = &mut *self
            .shard(number)?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        shard.clock += 1;
        let (value, used) = shard.values.get_mut(&number)?;
        *used = shard.clock;
        Some(Arc::clone(value))
    }

    fn shard(&self, number: u64) -> Option<&Mutex<Shard<V>>> {
        self.shards.get(to_index(number % SHARDS as u64))
    }

    fn keep(&self, number: u64, value: &Arc<V>) {
        let Some(shard) = self.shard(number) else {
            return;
        };
        let shard = &mut *shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.values.len() >= self.room {
            // A few dozen at most: looking at all of them is nothing beside reading one.
            let oldest = shard
                .values
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(number, _)| *number);
            oldest.and_then(|oldest| shard.values.remove(&oldest));
        }
        shard.clock += 1;
        shard
            .values
            .insert(number, (Arc::clone(value), shard.clock));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let cache = Cache::<u64>::new(2 * SHARDS);
        let step = SHARDS as u64;
        let get = |number| cache.get(number, || Ok::<_, ()>(Arc::new(number))).unwrap();
        for number in [0, step, 0, 2 * step] {
            assert_eq!(*get(number), number);
        }
        assert!(cache.recall(0).is_some() && cache.recall(2 * step).is_some());
        assert!(cache.recall(step).is_none());
    }
}
