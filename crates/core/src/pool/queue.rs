//! The tasks that wait.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::time::{Duration, Instant};

use super::plan::{Discipline, TaskId};

/// Puts tasks into an order of one's own.
///
/// A rank is given once, when a task comes. That is enough for deadlines
/// (earliest first), for the shortest first, and, with a count for each tenant,
/// for fair shares.
pub trait Rank<T>: Send {
    /// The lowest rank is next; among equals, who came first.
    fn rank(&mut self, task: &T, priority: i32) -> i64;
}

impl<T, F: FnMut(&T, i32) -> i64 + Send> Rank<T> for F {
    fn rank(&mut self, task: &T, priority: i32) -> i64 {
        self(task, priority)
    }
}

#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) id: TaskId,
    pub(super) task: T,
    pub(super) since: Instant,
    /// Most tasks have none, and are the smaller for it.
    pub(super) limits: Option<Box<Limits>>,
}

#[derive(Debug)]
pub(super) struct Limits {
    pub(super) expires: Option<Instant>,
    pub(super) run_timeout: Option<Duration>,
}

impl<T> Waiting<T> {
    pub(super) fn new(id: TaskId, task: T, since: Instant) -> Self {
        Self {
            id,
            task,
            since,
            limits: None,
        }
    }

    pub(super) fn with_limits(
        mut self,
        expires: Option<Instant>,
        run_timeout: Option<Duration>,
    ) -> Self {
        if expires.is_some() || run_timeout.is_some() {
            self.limits = Some(Box::new(Limits {
                expires,
                run_timeout,
            }));
        }
        self
    }

    /// When it has waited for too long.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.limits.as_ref()?.expires
    }

    pub(super) fn run_timeout(&self) -> Option<Duration> {
        self.limits.as_ref()?.run_timeout
    }
}

/// A place in the line, which may be empty.
pub(super) type Place<T> = (TaskId, Option<Waiting<T>>);

pub(super) struct Queue<T> {
    line: Line<T>,
    len: usize,
}

enum Line<T> {
    /// By number. Who has left keeps an empty place until [`Queue::tidy`].
    Arrival {
        places: VecDeque<Place<T>>,
        last_first: bool,
    },
    Ranked {
        tasks: BTreeMap<(i64, TaskId), Waiting<T>>,
        ranks: BTreeMap<TaskId, i64>,
        /// `None`: by priority.
        rank: Option<Box<dyn Rank<T>>>,
    },
}

impl<T> Queue<T> {
    pub(super) fn new(discipline: Discipline) -> Self {
        let line = match discipline {
            Discipline::Fifo | Discipline::Lifo => Line::Arrival {
                places: VecDeque::new(),
                last_first: discipline == Discipline::Lifo,
            },
            Discipline::Priority => ranked(None),
        };
        Self { line, len: 0 }
    }

    pub(super) fn ranked(rank: Box<dyn Rank<T>>) -> Self {
        let line = ranked(Some(rank));
        Self { line, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many places the line has, with the empty ones.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        match &self.line {
            Line::Arrival { places, .. } => places.len(),
            Line::Ranked { tasks, .. } => tasks.len(),
        }
    }

    /// The caller gives out growing numbers.
    pub(super) fn push(&mut self, waiting: Waiting<T>, priority: i32) {
        self.len += 1;
        let id = waiting.id;
        match &mut self.line {
            Line::Arrival { places, .. } => places.push_back((id, Some(waiting))),
            Line::Ranked { tasks, ranks, rank } => {
                let rank = match rank {
                    Some(rank) => rank.rank(&waiting.task, priority),
                    None => -i64::from(priority),
                };
                ranks.insert(id, rank);
                tasks.insert((rank, id), waiting);
            }
        }
    }

    pub(super) fn is_fifo(&self) -> bool {
        matches!(
            self.line,
            Line::Arrival {
                last_first: false,
                ..
            }
        )
    }

    /// Puts all of these behind the others, which came before.
    pub(super) fn append(&mut self, more: &mut VecDeque<Place<T>>) {
        match &mut self.line {
            Line::Arrival { places, .. } => {
                self.len += more.len();
                if places.is_empty() {
                    std::mem::swap(places, more);
                } else {
                    places.append(more);
                }
            }
            Line::Ranked { .. } => {
                for waiting in more.drain(..).filter_map(|(_, waiting)| waiting) {
                    self.push(waiting, 0);
                }
            }
        }
    }

    /// Who is next.
    pub(super) fn peek(&self) -> Option<&T> {
        let next = match &self.line {
            Line::Arrival {
                places,
                last_first: false,
            } => places.front()?.1.as_ref(),
            Line::Arrival { places, .. } => places.back()?.1.as_ref(),
            Line::Ranked { tasks, .. } => tasks.first_key_value().map(|(_, waiting)| waiting),
        };
        next.map(|waiting| &waiting.task)
    }

    pub(super) fn pop(&mut self) -> Option<Waiting<T>> {
        let next = match &mut self.line {
            Line::Arrival {
                places,
                last_first: false,
            } => places.pop_front()?.1,
            Line::Arrival { places, .. } => places.pop_back()?.1,
            Line::Ranked { tasks, ranks, .. } => {
                let (_, next) = tasks.pop_first()?;
                ranks.remove(&next.id);
                Some(next)
            }
        };
        self.len -= usize::from(next.is_some());
        self.tidy();
        next
    }

    /// Who is next, if this holds of it; first come, first served only.
    pub(super) fn pop_if(&mut self, is_meant: impl Fn(&Waiting<T>) -> bool) -> Option<Waiting<T>> {
        let Line::Arrival { places, .. } = &self.line else {
            return None;
        };
        let next = places.front()?.1.as_ref()?;
        if is_meant(next) { self.pop() } else { None }
    }

    /// Gives one that was taken its old place; first come, first served only.
    pub(super) fn put_back(&mut self, waiting: Waiting<T>) {
        let id = waiting.id;
        let Line::Arrival { places, .. } = &mut self.line else {
            return self.push(waiting, 0);
        };
        self.len += 1;
        match places.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => places[at].1 = Some(waiting),
            Err(at) => places.insert(at, (id, Some(waiting))),
        }
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Waiting<T>> {
        let gone = match &mut self.line {
            Line::Arrival { places, .. } => {
                let at = places.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                places.get_mut(at)?.1.take()
            }
            Line::Ranked { tasks, ranks, .. } => {
                let rank = ranks.remove(&id)?;
                tasks.remove(&(rank, id))
            }
        }?;
        self.len -= 1;
        self.tidy();
        Some(gone)
    }

    /// Keeps both ends of the line real, and the empty places fewer than the others.
    fn tidy(&mut self) {
        let Line::Arrival { places, .. } = &mut self.line else {
            return;
        };
        while places.front().is_some_and(|(_, waiting)| waiting.is_none()) {
            places.pop_front();
        }
        while places.back().is_some_and(|(_, waiting)| waiting.is_none()) {
            places.pop_back();
        }
        if places.len() > 2 * self.len + 64 {
            places.retain(|(_, waiting)| waiting.is_some());
        }
    }
}

fn ranked<T>(rank: Option<Box<dyn Rank<T>>>) -> Line<T> {
    Line::Ranked {
        tasks: BTreeMap::new(),
        ranks: BTreeMap::new(),
        rank,
    }
}

impl<T> Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("len", &self.len).finish()
    }
}
