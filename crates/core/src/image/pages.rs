//! Pieces of section files that were read and are kept, up to a limit in bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The size of one piece. Files are read in pieces of this size, aligned to it, and only where bytes
/// were asked for.
pub(super) const PIECE: u64 = 16 * 1024;

/// Which piece: the identity of the file and the number of the piece in it.
type Key = (u64, u64);

/// A store of file pieces that forgets the least recently used ones beyond its limit.
///
/// Forgetting a piece is never visible in what is read; it is only read again.
#[derive(Debug)]
pub(super) struct PieceStore {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: Option<u64>,
    kept: u64,
    clock: u64,
    pieces: BTreeMap<Key, Piece>,
    by_age: BTreeMap<u64, Key>,
}

#[derive(Debug)]
struct Piece {
    data: Arc<[u8]>,
    age: u64,
}

impl PieceStore {
    /// A store that keeps at most `limit` bytes; `None` is no limit, 0 keeps nothing.
    pub fn new(limit: Option<u64>) -> PieceStore {
        let (pieces, by_age) = (BTreeMap::new(), BTreeMap::new());
        PieceStore { state: Mutex::new(State { limit, kept: 0, clock: 0, pieces, by_age }) }
    }

    // No code that can panic runs under the lock, and every state in between is a usable store.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn limit(&self) -> Option<u64> {
        self.state().limit
    }

    /// Changes the limit and forgets at once what is beyond it.
    pub fn set_limit(&self, limit: Option<u64>) {
        let mut state = self.state();
        state.limit = limit;
        state.prune();
    }

    /// The bytes kept now.
    pub fn kept(&self) -> u64 {
        self.state().kept
    }

    pub fn get(&self, file: u64, piece: u64) -> Option<Arc<[u8]>> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.clock += 1;
        let found = state.pieces.get_mut(&(file, piece))?;
        state.by_age.remove(&found.age);
        found.age = state.clock;
        state.by_age.insert(found.age, (file, piece));
        Some(found.data.clone())
    }

    pub fn put(&self, file: u64, piece: u64, data: Arc<[u8]>) {
        let mut state = self.state();
        let size = data.len() as u64;
        if state.limit.is_some_and(|limit| size > limit) {
            return;
        }
        state.remove((file, piece));
        state.clock += 1;
        let age = state.clock;
        state.kept += size;
        state.pieces.insert((file, piece), Piece { data, age });
        state.by_age.insert(age, (file, piece));
        state.prune();
    }

    /// Forgets every piece of `file`.
    pub fn forget(&self, file: u64) {
        let mut state = self.state();
        let keys: Vec<Key> = state.pieces.range((file, 0)..=(file, u64::MAX)).map(|(key, _)| *key).collect();
        for key in keys {
            state.remove(key);
        }
    }
}

impl State {
    fn remove(&mut self, key: Key) {
        if let Some(piece) = self.pieces.remove(&key) {
            self.by_age.remove(&piece.age);
            self.kept = self.kept.saturating_sub(piece.data.len() as u64);
        }
    }

    fn prune(&mut self) {
        while self.limit.is_some_and(|limit| self.kept > limit) {
            let Some((_, &oldest)) = self.by_age.first_key_value() else { break };
            self.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(size: usize) -> Arc<[u8]> {
        vec![0; size].into()
    }

    #[test]
    fn the_least_recently_used_piece_goes_first() {
        let store = PieceStore::new(Some(20));
        store.put(1, 0, piece(10));
        store.put(1, 1, piece(10));
        assert!(store.get(1, 0).is_some());
        store.put(2, 0, piece(10));
        assert!(store.get(1, 0).is_some() && store.get(2, 0).is_some());
        assert!(store.get(1, 1).is_none());
        assert_eq!(store.kept(), 20);
    }

    #[test]
    fn a_limit_of_zero_keeps_nothing_and_a_new_limit_holds_at_once() {
        let store = PieceStore::new(None);
        store.put(1, 0, piece(10));
        store.put(1, 1, piece(10));
        store.set_limit(Some(10));
        assert_eq!(store.kept(), 10);
        store.set_limit(Some(0));
        assert_eq!(store.kept(), 0);
        store.put(1, 0, piece(1));
        assert_eq!((store.kept(), store.limit()), (0, Some(0)));
    }

    #[test]
    fn a_forgotten_file_leaves_the_others() {
        let store = PieceStore::new(None);
        store.put(1, 7, piece(3));
        store.put(2, 7, piece(4));
        store.forget(1);
        assert!(store.get(1, 7).is_none() && store.get(2, 7).is_some());
        assert_eq!(store.kept(), 4);
    }
}
