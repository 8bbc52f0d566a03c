//! A bounded cache that threads share.

use super::fields::to_index;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Number of locks, so that threads seldom wait for each other.
const SHARDS: usize = 16;

/// Least-recently-used values by number.
pub(crate) struct Cache<V: ?Sized> {
    shards: Vec<Mutex<Shard<V>>>,
    shard_capacity: usize,
}

struct Shard<V: ?Sized> {
    values: HashMap<u64, (Arc<V>, u64)>,
    clock: u64,
}

impl<V: ?Sized> Cache<V> {
    /// Makes a cache for about `capacity` values.
    pub fn new(capacity: usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                values: HashMap::new(),
                clock: 0,
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            shard_capacity: (capacity / SHARDS).max(1),
        }
    }

    /// Returns a cached value, or calls `make` and caches the result. Two threads may make the same value.
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

    /// Returns a value that is still cached.
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
        if shard.values.len() >= self.shard_capacity {
            // A few dozen at most: comparing all of them is cheap beside reading one.

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
    fn the_least_recently_used_value_goes_first() {
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
