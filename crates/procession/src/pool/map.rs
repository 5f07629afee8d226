//! Many tasks, not more of them at a time than the pool takes.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use super::Pool;
use super::error::TaskError;
use super::limits::Terms;
use super::submitted::Submitted;

/// Tasks that are taken from an iterator as there is room for them.
struct Feed<I, T, R, P> {
    pool: Pool<T, R, P>,
    tasks: I,
    /// Taken from the iterator, and refused for now.
    kept: Option<T>,
    width: usize,
}

impl<I, T, R, P> Feed<I, T, R, P>
where
    I: Iterator<Item = T>,
{
    /// The next, if there is one and room for it.
    fn next(&mut self) -> Option<Result<Submitted<T, R, P>, TaskError<T>>> {
        let task = self.kept.take().or_else(|| self.tasks.next())?;
        match self.pool.submit(task, Terms::default()) {
            Err(TaskError::QueueFull(task)) => {
                self.kept = Some(task);
                None
            }
            done => Some(done),
        }
    }
}

/// Results in the order of the tasks; see [`Pool::map`].
pub struct Map<I, T, R, P = ()> {
    feed: Feed<I, T, R, P>,
    ahead: VecDeque<Result<Submitted<T, R, P>, TaskError<T>>>,
}

impl<I, T, R, P> Map<I, T, R, P>
where
    I: Iterator<Item = T>,
{
    pub(super) fn new(pool: Pool<T, R, P>, tasks: I, width: usize) -> Self {
        Self {
            feed: Feed::new(pool, tasks, width),
            ahead: VecDeque::new(),
        }
    }

    /// Has so many tasks at a time, instead of twice as many as there can be workers.
    #[must_use]
    pub fn width(mut self, tasks: usize) -> Self {
        self.feed.width = tasks.max(1);
        self
    }

    /// Waits for the next result; `None` after the last.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the result is there for the next call.
    pub async fn next(&mut self) -> Option<Result<R, TaskError<T>>> {
        loop {
            while self.ahead.len() < self.feed.width
                && let Some(submitted) = self.feed.next()
            {
                self.ahead.push_back(submitted);
            }
            if let Some(Ok(first)) = self.ahead.front_mut() {
                let result = first.await;
                self.ahead.pop_front();
                return Some(result);
            }
            match self.ahead.pop_front() {
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(_)) | None if self.feed.kept.is_none() => return None,
                // Others have filled the queue.
                Some(Ok(_)) | None => self.feed.pool.room().await,
            }
        }
    }
}

/// Results as they come; see [`Pool::as_completed`].
pub struct AsCompleted<I, T, R, P = ()> {
    feed: Feed<I, T, R, P>,
    ahead: Vec<(usize, Submitted<T, R, P>)>,
    taken: usize,
}

impl<I, T, R, P> AsCompleted<I, T, R, P>
where
    I: Iterator<Item = T>,
{
    pub(super) fn new(pool: Pool<T, R, P>, tasks: I, width: usize) -> Self {
        Self {
            feed: Feed::new(pool, tasks, width),
            ahead: Vec::new(),
            taken: 0,
        }
    }

    /// Has so many tasks at a time, instead of twice as many as there can be workers.
    #[must_use]
    pub fn width(mut self, tasks: usize) -> Self {
        self.feed.width = tasks.max(1);
        self
    }

    /// Waits for the next result and says which task's it is, by the
    /// iterator's count from 0; `None` after the last.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the result is there for the next call.
    pub async fn next(&mut self) -> Option<(usize, Result<R, TaskError<T>>)> {
        loop {
            while self.ahead.len() < self.feed.width
                && let Some(submitted) = self.feed.next()
            {
                let index = self.taken;
                self.taken += 1;
                match submitted {
                    Ok(submitted) => self.ahead.push((index, submitted)),
                    Err(error) => return Some((index, Err(error))),
                }
            }
            if !self.ahead.is_empty() {
                return Some(self.first_done().await);
            }
            self.feed.kept.as_ref()?;
            // Others have filled the queue.
            self.feed.pool.room().await;
        }
    }

    async fn first_done(&mut self) -> (usize, Result<R, TaskError<T>>) {
        poll_fn(|cx| {
            for at in 0..self.ahead.len() {
                let (_, submitted) = &mut self.ahead[at];
                if let Poll::Ready(result) = std::pin::Pin::new(submitted).poll(cx) {
                    let (index, _) = self.ahead.swap_remove(at);
                    return Poll::Ready((index, result));
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl<I, T, R, P> Feed<I, T, R, P> {
    fn new(pool: Pool<T, R, P>, tasks: I, width: usize) -> Self {
        Self {
            pool,
            tasks,
            kept: None,
            width,
        }
    }
}

impl<I, T, R, P> fmt::Debug for Map<I, T, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("ahead", &self.ahead.len())
            .finish_non_exhaustive()
    }
}

impl<I, T, R, P> fmt::Debug for AsCompleted<I, T, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("ahead", &self.ahead.len())
            .finish_non_exhaustive()
    }
}
