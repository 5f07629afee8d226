//! A task runs within the span that was current where it was submitted.
#![cfg(feature = "tracing")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use procession::child_process::Command;
use procession::ipc::Serialization;
use procession::pool::{Limits, Pool};
use procession_testkit::leaks::Oracle;
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Knows the names of spans and, of each event, where it was told.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    spans: HashMap<u64, &'static Metadata<'static>>,
    events: Vec<String>,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut inside = self.0.lock().unwrap();
        let id = inside.spans.len() as u64 + 1;
        inside.spans.insert(id, span.metadata());
        Id::from_u64(id)
    }

    fn event(&self, event: &Event<'_>) {
        let mut inside = self.0.lock().unwrap();
        let innermost = ENTERED.with_borrow(|entered| entered.last().copied());
        let span = innermost.map_or("none", |id| inside.spans[&id].name());
        let mut line = Line(span.to_owned());
        event.record(&mut line);
        inside.events.push(line.0);
    }

    fn current_span(&self) -> Current {
        let inside = self.0.lock().unwrap();
        match ENTERED.with_borrow(|entered| entered.last().copied()) {
            Some(id) => Current::new(Id::from_u64(id), inside.spans[&id]),
            None => Current::none(),
        }
    }

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, _: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.pop());
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
}

#[test]
fn a_task_has_its_submitters_span() {
    let spans = Spans::default();
    tracing::subscriber::set_global_default(spans.clone()).unwrap();
    let pool = Pool::threads(Limits::new(1..=1), |n: u32| {
        tracing::info!(n, "in a thread");
        n
    })
    .unwrap();
    let request = tracing::info_span!("request");
    request
        .in_scope(|| pool.try_run(7).unwrap())
        .wait_blocking()
        .unwrap();
    assert_eq!(pool.run_blocking(8).unwrap(), 8);
    pool.close_blocking();

    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let itself = std::env::current_exe().unwrap();
        let program = itself.ancestors().nth(2).unwrap();
        let mut command = Command::new(program.join("examples/pool_worker"));
        command.ipc(Serialization::Json).envs([oracle.tag()]);
        let pool = Pool::<Value, Value>::processes(Limits::new(1..=1), &command).unwrap();
        let task = request.in_scope(|| pool.try_run(json!({ "Square": 3 })).unwrap());
        assert_eq!(task.await.unwrap(), json!(9));
        pool.close().await;
    });
    drop(runtime);
    oracle.check();

    let events = spans.0.lock().unwrap().events.clone();
    let among = |wanted: &str| events.iter().filter(|event| event.contains(wanted)).count();
    assert_eq!(among("request message=in a thread n=7"), 1, "{events:#?}");
    assert_eq!(among("none message=in a thread n=8"), 1, "{events:#?}");
    assert_eq!(among("message=given to a process task="), 1, "{events:#?}");
    assert_eq!(
        among("request message=given to a process"),
        1,
        "{events:#?}"
    );
    assert_eq!((among("message=ready"), among("message=gone")), (2, 2));
    assert_eq!(among("Square"), 0, "tasks may hold secrets");
}
