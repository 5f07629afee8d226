//! Tasks that are calls of a method by its name.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Pool;
use super::error::TaskError;
use super::limits::Terms;
use super::threads::Running;

/// The method that tells the names of all, as workerpool has it.
const METHODS: &str = "methods";

/// A call of a [`Pool::call`]: `{"method":"add","args":[1,2]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    method: String,
    args: Value,
}

impl Call {
    /// The name of the method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }
}

/// What a method returned, not yet of a type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reply(Value);

/// Workers with several methods: a Rust program with [`Methods`], or
/// [`node_methods`](super::node_methods).
///
/// ```no_run
/// use procession::pool::{Call, Limits, Pool, Reply, node_methods};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::<Call, Reply>::processes(Limits::new(1..=4), &node_methods("sums.js"))?;
/// let sum: i64 = pool.call("add", (1, 2)).await?;
/// # Ok(())
/// # }
/// ```
impl<P> Pool<Call, Reply, P> {
    /// Calls a method and waits for what it returns. The arguments are a tuple,
    /// or one that is none. The method `methods` returns the names of all.
    ///
    /// Bytes in them are sent, however many they are: [`Payload`](super::Payload)
    /// is shared in tasks of one's own type only.
    ///
    /// # Errors
    ///
    /// [`TaskError`]: [`Failed`](TaskError::Failed) if there is no such method or
    /// its arguments are others, [`Unsendable`](TaskError::Unsendable) if these
    /// cannot be written, [`Unreadable`](TaskError::Unreadable) if it returned
    /// something else.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    ///
    /// # Node
    ///
    /// workerpool's `proxy` and `exec`.
    pub async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        args: impl Serialize,
    ) -> Result<R, TaskError<Call>> {
        self.call_with(method, args, Terms::default()).await
    }

    /// The same on terms of its own.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    pub async fn call_with<R: DeserializeOwned>(
        &self,
        method: &str,
        args: impl Serialize,
        terms: Terms,
    ) -> Result<R, TaskError<Call>> {
        let method = method.to_owned();
        let args = match serde_json::to_value(args) {
            Ok(args) => args,
            Err(error) => {
                let args = Value::Null;
                let task = Call { method, args };
                let reason = error.to_string();
                return Err(TaskError::Unsendable { task, reason });
            }
        };
        let Reply(value) = self.run_with(Call { method, args }, terms).await?;
        serde_json::from_value(value).map_err(|error| TaskError::Unreadable {
            reason: error.to_string(),
        })
    }

    /// A method whose name and types are said once. Whether there is such a one
    /// is met by its calls.
    #[must_use]
    pub fn method<A: Serialize, R: DeserializeOwned>(&self, name: &str) -> Method<A, R, P> {
        Method {
            pool: self.clone(),
            name: name.into(),
            types: PhantomData,
        }
    }
}

/// A method of a pool's workers, from arguments `A` to `R`; see [`Pool::method`].
///
/// Like a clone of the pool, it keeps it open.
///
/// ```no_run
/// use procession::pool::{Call, Limits, Method, Pool, Reply, node_methods};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::<Call, Reply>::processes(Limits::new(1..=4), &node_methods("sums.js"))?;
/// let add: Method<(i32, i32), i32> = pool.method("add");
/// let double = pool.method::<i32, i32>("double");
/// assert_eq!(add.call((1, double.call(2).await?)).await?, 5);
/// # Ok(())
/// # }
/// ```
///
/// # Node
///
/// A function of workerpool's `proxy`.
pub struct Method<A, R, P = ()> {
    pool: Pool<Call, Reply, P>,
    name: Arc<str>,
    types: PhantomData<fn(A) -> R>,
}

impl<A: Serialize, R: DeserializeOwned, P> Method<A, R, P> {
    /// Calls the method and waits for what it returns.
    ///
    /// # Errors
    ///
    /// As [`Pool::call`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    pub async fn call(&self, args: A) -> Result<R, TaskError<Call>> {
        self.pool.call(&self.name, args).await
    }

    /// The same on terms of its own.
    ///
    /// # Errors
    ///
    /// As [`Pool::call`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    pub async fn call_with(&self, args: A, terms: Terms) -> Result<R, TaskError<Call>> {
        self.pool.call_with(&self.name, args, terms).await
    }
}

impl<A, R, P> Method<A, R, P> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<A, R, P> Clone for Method<A, R, P> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            name: Arc::clone(&self.name),
            types: PhantomData,
        }
    }
}

impl<A, R, P> fmt::Debug for Method<A, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method")
            .field("name", &self.name)
            .field("pool", &self.pool)
            .finish()
    }
}

type Body<S, P> = dyn Fn(Value, &mut Running<'_, S, P>) -> Result<Value, String> + Send + Sync;

/// The methods of a worker program; see [`Worker::serve_methods`](super::Worker::serve_methods).
///
/// ```no_run
/// use procession::pool::{Methods, Running, Worker};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let methods = Methods::new()
///     .method("add", |(a, b): (i64, i64), _: &mut Running<'_>| a + b)
///     .method("double", |n: i64, _: &mut Running<'_>| n * 2);
/// let worker = Worker::from_env()?.ok_or("start me from a pool")?;
/// worker.serve_methods(methods).await?;
/// # Ok(())
/// # }
/// ```
pub struct Methods<S = (), P = ()> {
    methods: BTreeMap<String, Box<Body<S, P>>>,
}

impl<S, P> Methods<S, P> {
    /// None but `methods`, which tells the names of all.
    #[must_use]
    pub fn new() -> Self {
        Self {
            methods: BTreeMap::new(),
        }
    }

    /// A method more, in place of one of the same name.
    #[must_use]
    pub fn method<A, R>(
        mut self,
        name: &str,
        run: impl Fn(A, &mut Running<'_, S, P>) -> R + Send + Sync + 'static,
    ) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
    {
        let body = move |args, running: &mut Running<'_, S, P>| {
            let args = serde_json::from_value(args)
                .map_err(|error| format!("its arguments cannot be read: {error}"))?;
            serde_json::to_value(run(args, running))
                .map_err(|error| format!("its result cannot be sent: {error}"))
        };
        self.methods.insert(name.to_owned(), Box::new(body));
        self
    }

    pub(super) fn run(&self, call: Call, running: &mut Running<'_, S, P>) -> Result<Reply, String> {
        let Call { method, args } = call;
        match self.methods.get(&method) {
            Some(run) => run(args, running).map(Reply),
            None if method == METHODS => Ok(Reply(self.methods.keys().cloned().collect())),
            None => Err(format!("there is no method `{method}`")),
        }
    }
}

impl<S, P> Default for Methods<S, P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, P> fmt::Debug for Methods<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.methods.keys()).finish()
    }
}
