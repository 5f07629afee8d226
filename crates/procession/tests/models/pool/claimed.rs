//! The places of claims: of two sides one has a task, also when it is offered again.

use std::array;
use std::sync::Arc;

use shuttle::thread;

use super::places::{COUNT, Places};
use super::sync::{AtomicU32, Ordering};
use crate::many_orders;

fn memory() -> Arc<[AtomicU32; COUNT]> {
    Arc::new(array::from_fn(|_| AtomicU32::new(0)))
}

fn fill(places: &Places<'_>) -> [u32; COUNT] {
    let mut next = 1;
    array::from_fn(|_| {
        let claim = places.offer(next).unwrap();
        next = claim + 1;
        claim
    })
}

#[test]
fn each_task_is_taken_by_one_side() {
    many_orders(|| {
        let memory = memory();
        let ours = Places(&*memory);
        let claims = [1, 2].map(|number| ours.offer(number).unwrap());
        let shared = Arc::clone(&memory);
        let theirs = thread::spawn(move || claims.map(|claim| Places(&*shared).take(claim)));
        // They begin at the front, and we take back from the end.
        let [second, first] = [claims[1], claims[0]].map(|claim| ours.take(claim));
        assert_eq!(theirs.join().unwrap(), [!first, !second]);
    });
}

/// Who has the old message only does not begin what comes with the new one.
#[test]
fn what_is_offered_again_in_the_same_place_is_another() {
    many_orders(|| {
        let memory = memory();
        let ours = Places(&*memory);
        let all = fill(&ours);
        let (old, next) = (all[0], all[COUNT - 1] + 1);
        let told = Arc::new(AtomicU32::new(0));
        let theirs = {
            let (memory, told) = (Arc::clone(&memory), Arc::clone(&told));
            thread::spawn(move || {
                let new = told.load(Ordering::SeqCst);
                let theirs = Places(&*memory);
                (theirs.take(old), theirs.take(new))
            })
        };
        let is_ours = ours.take(old);
        let new = is_ours.then(|| ours.offer(next).unwrap());
        if let Some(new) = new {
            assert_eq!(new as usize % COUNT, old as usize % COUNT);
            told.store(new, Ordering::SeqCst);
        }
        let (took_old, took_new) = theirs.join().unwrap();
        assert_eq!(took_old, !is_ours);
        assert!(new.is_none_or(|new| took_new != ours.take(new)));
    });
}

/// A place that is being emptied is free for the next task, or not yet.
#[test]
fn no_offer_takes_the_place_of_another() {
    many_orders(|| {
        let memory = memory();
        let ours = Places(&*memory);
        let all = fill(&ours);
        let shared = Arc::clone(&memory);
        let theirs = thread::spawn(move || [all[0], all[1]].map(|it| Places(&*shared).take(it)));
        let next = all[COUNT - 1] + 1;
        let first = ours.offer(next);
        let second = ours.offer(first.map_or(next, |claim| claim + 1));
        assert_eq!(theirs.join().unwrap(), [true; 2]);
        let waits = |claim: &u32| ours.take(*claim);
        assert!(all[2..].iter().all(waits), "an older one is lost");
        assert!(first.iter().chain(&second).all(waits));
    });
}
