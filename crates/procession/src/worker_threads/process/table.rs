//! Who holds which lock and who waits for it, decided without a socket.

use std::collections::{HashMap, VecDeque};

/// Names one request: the member, and the member's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) member: u64,
    pub(super) id: u64,
}

/// One that holds a lock or waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) is_shared: bool,
    pub(super) is_held: bool,
}

/// All locks. Granted in the order in which they were asked for; shared ones that
/// follow each other together, and never past an exclusive one that waits.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Those that hold a lock come first.
    names: HashMap<String, VecDeque<Entry>>,
    /// How to find a request.
    keys: HashMap<Key, String>,
}

impl Table {
    /// Adds a request, and says whether it holds the lock now; `None` if the number is in use.
    pub(super) fn request(&mut self, key: Key, name: &str, is_shared: bool) -> Option<bool> {
        if self.keys.contains_key(&key) {
            return None;
        }
        self.keys.insert(key, name.to_owned());
        let queue = self.names.entry(name.to_owned()).or_default();
        let is_held = may_join(queue, is_shared);
        queue.push_back(Entry {
            key,
            is_shared,
            is_held,
        });
        Some(is_held)
    }

    /// Whether a request would hold the lock at once.
    pub(super) fn is_available(&self, name: &str, is_shared: bool) -> bool {
        let queue = self.names.get(name);
        queue.is_none_or(|queue| may_join(queue, is_shared))
    }

    /// Takes a request out, held or not, and says who holds the lock now because of
    /// it; `None` if there is none.
    pub(super) fn release(&mut self, key: Key) -> Option<Vec<Key>> {
        let name = self.keys.remove(&key)?;
        let queue = self.names.get_mut(&name)?;
        queue.retain(|entry| entry.key != key);
        if queue.is_empty() {
            self.names.remove(&name);
            return Some(Vec::new());
        }
        let mut granted = Vec::new();
        for index in 0..queue.len() {
            let is_next = index == 0 || (queue[index].is_shared && queue[0].is_shared);
            if !is_next {
                break;
            }
            let entry = &mut queue[index];
            if !entry.is_held {
                entry.is_held = true;
                granted.push(entry.key);
            }
        }
        Some(granted)
    }

    /// Takes all requests of a member out, and says who holds a lock now because of it.
    pub(super) fn leave(&mut self, member: u64) -> Vec<Key> {
        let keys = self.keys.keys();
        let own: Vec<_> = keys.copied().filter(|key| key.member == member).collect();
        let released = own.into_iter().filter_map(|key| self.release(key));
        let mut granted: Vec<_> = released.flatten().collect();
        // One of its own may have been next for a moment.
        granted.retain(|key| key.member != member);
        granted
    }

    /// Everything, in each name's own order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let names = self.names.iter();
        names.flat_map(|(name, queue)| queue.iter().map(move |entry| (&**name, entry)))
    }
}

fn may_join(queue: &VecDeque<Entry>, is_shared: bool) -> bool {
    let joins = |entry: &Entry| is_shared && entry.is_shared && entry.is_held;
    queue.iter().all(joins)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(member: u64, id: u64) -> Key {
        Key { member, id }
    }

    #[test]
    fn shared_ones_hold_together_and_overtake_nobody() {
        let mut table = Table::default();
        assert_eq!(table.request(key(1, 1), "a", true), Some(true));
        assert_eq!(table.request(key(2, 1), "a", true), Some(true));
        assert_eq!(table.request(key(3, 1), "a", false), Some(false));
        assert!(!table.is_available("a", true));
        assert_eq!(table.request(key(4, 1), "a", true), Some(false));
        assert_eq!(table.request(key(4, 2), "b", false), Some(true));
        assert_eq!(table.release(key(1, 1)).unwrap(), []);
        assert_eq!(table.release(key(2, 1)).unwrap(), [key(3, 1)]);
        assert_eq!(table.request(key(5, 1), "a", true), Some(false));
        assert_eq!(table.release(key(3, 1)).unwrap(), [key(4, 1), key(5, 1)]);
    }

    #[test]
    fn who_leaves_leaves_everything() {
        let mut table = Table::default();
        assert_eq!(table.request(key(1, 1), "a", false), Some(true));
        assert_eq!(table.request(key(1, 2), "a", false), Some(false));
        assert_eq!(table.request(key(2, 1), "a", false), Some(false));
        assert_eq!(table.request(key(1, 3), "b", false), Some(true));
        assert_eq!(table.request(key(3, 1), "b", true), Some(false));
        let mut granted = table.leave(1);
        granted.sort_unstable_by_key(|key| key.member);
        assert_eq!(granted, [key(2, 1), key(3, 1)]);
        assert_eq!(table.release(key(1, 1)), None, "gone already");
        table.leave(2);
        table.leave(3);
        assert_eq!(table.entries().count(), 0);
        assert!(table.names.is_empty() && table.keys.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Request(u64, u64, bool, bool),
        Release(u64, u64),
        Leave(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u64, 0..6_u64, any::<bool>(), any::<bool>())
                .prop_map(|(member, id, name, shared)| Step::Request(member, id, name, shared)),
            (0..4_u64, 0..6_u64).prop_map(|(member, id)| Step::Release(member, id)),
            (0..4_u64).prop_map(Step::Leave),
        ]
    }

    /// What must be true of a queue at any time.
    fn check(queue: &VecDeque<Entry>) {
        let held = queue.iter().take_while(|entry| entry.is_held).count();
        assert!(
            queue.iter().skip(held).all(|entry| !entry.is_held),
            "in order"
        );
        assert!(held > 0, "somebody holds it");
        let alone = queue.iter().take(held).any(|entry| !entry.is_shared);
        assert!(!alone || held == 1, "exclusive");
        let next = queue.get(held);
        assert!(
            !next.is_some_and(|next| next.is_shared && queue[0].is_shared),
            "nobody waits who need not"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_done_the_rules_hold_and_whoever_is_granted_is_told(
            steps in prop::collection::vec(step(), 1..80),
        ) {
            let mut table = Table::default();
            let mut told = std::collections::HashSet::new();
            for step in steps {
                match step {
                    Step::Request(member, id, name, shared) => {
                        let name = if name { "a" } else { "b" };
                        let is_new = !table.keys.contains_key(&key(member, id));
                        let is_available = table.is_available(name, shared);
                        let is_held = table.request(key(member, id), name, shared);
                        prop_assert_eq!(is_held, is_new.then_some(is_available));
                        if is_held == Some(true) {
                            told.insert(key(member, id));
                        }
                    }
                    Step::Release(member, id) => {
                        told.extend(table.release(key(member, id)).into_iter().flatten());
                        told.remove(&key(member, id));
                    }
                    Step::Leave(member) => {
                        told.extend(table.leave(member));
                        told.retain(|key| key.member != member);
                    }
                }
                table.names.values().for_each(check);
                let held = table.entries().filter(|(_, entry)| entry.is_held);
                prop_assert_eq!(held.map(|(_, entry)| entry.key).collect::<std::collections::HashSet<_>>(), told.clone());
            }
        }
    }
}
