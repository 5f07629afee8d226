//! How often the same was asked for.

use std::collections::HashMap;

use crate::cluster::protocol::{AddressType, Query};

/// Node's numbers for listeners of one worker on the same address: they count
/// up while one of them is held, and begin anew when none is.
#[derive(Debug, Default)]
pub(super) struct Indexes(HashMap<Same, Held>);

type Same = (
    Option<String>,
    Option<i32>,
    Option<AddressType>,
    Option<i32>,
);

#[derive(Debug, Default)]
struct Held {
    next: u32,
    count: usize,
}

impl Indexes {
    pub(super) fn take(&mut self, query: &Query) -> u32 {
        let held = self.0.entry(same(query)).or_default();
        let index = held.next;
        held.next = held.next.wrapping_add(1);
        held.count += 1;
        index
    }

    pub(super) fn give_back(&mut self, query: &Query) {
        let same = same(query);
        if let Some(held) = self.0.get_mut(&same) {
            held.count -= 1;
            if held.count == 0 {
                self.0.remove(&same);
            }
        }
    }
}

fn same(query: &Query) -> Same {
    let address = query.address.clone();
    (address, query.port, query.address_type, query.fd)
}
