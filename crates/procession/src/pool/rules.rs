//! Users' rules about who is next and who gets it, which may panic under our lock.

use std::panic::{AssertUnwindSafe, catch_unwind};

use procession_core::pool::{Balance, Dispatcher, Load, Rank};

use super::state::Job;

/// The rules of a pool; without one, its limits say.
pub(super) struct Rules<T> {
    pub(super) rank: Option<Box<dyn Rank<T>>>,
    pub(super) balance: Option<Box<dyn Balance<T>>>,
}

impl<T: Send + 'static> Rules<T> {
    pub(super) fn none() -> Self {
        Self {
            rank: None,
            balance: None,
        }
    }

    /// Has the machine follow them.
    pub(super) fn rule<R, P>(
        self,
        mut machine: Dispatcher<Job<T, R, P>>,
    ) -> Dispatcher<Job<T, R, P>> {
        if let Some(rank) = self.rank {
            machine = machine.with_rank(Box::new(Safely(rank)));
        }
        if let Some(balance) = self.balance {
            machine = machine.with_balance(Box::new(Safely(balance)));
        }
        machine
    }
}

/// A user's rule, which may panic.
struct Safely<X: ?Sized>(Box<X>);

impl<T: Send, R, P> Rank<Job<T, R, P>> for Safely<dyn Rank<T>> {
    fn rank(&mut self, job: &Job<T, R, P>, priority: i32) -> i64 {
        let rank = AssertUnwindSafe(|| self.0.rank(&job.task, priority));
        catch_unwind(rank).unwrap_or(0)
    }
}

impl<T: Send, R, P> Balance<Job<T, R, P>> for Safely<dyn Balance<T>> {
    fn choose(&mut self, job: &Job<T, R, P>, workers: &[Load]) -> Option<usize> {
        let choose = AssertUnwindSafe(|| self.0.choose(&job.task, workers));
        catch_unwind(choose).unwrap_or(Some(0))
    }
}
