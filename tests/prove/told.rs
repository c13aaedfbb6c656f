//! What the relay tells its operator: the errors in the buffer's log, as they are said, on this thread.

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    static SAID: RefCell<Vec<Said>> = const { RefCell::new(Vec::new()) };
}

/// One error.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Message and fields.
    pub text: String,
    pub from: Option<u64>,
    pub to: Option<u64>,
}

/// What was said since the last time.
pub fn take() -> Vec<Said> {
    SAID.take()
}

/// Listens, for as long as the program runs.
pub fn listen() {
    tracing::subscriber::set_global_default(Listener).expect("nobody else listens");
}

struct Listener;

fn is_of_interest(metadata: &Metadata<'_>) -> bool {
    *metadata.level() == Level::ERROR && metadata.target().starts_with("dualstream::buffer")
}

impl Subscriber for Listener {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_of_interest(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_of_interest(metadata)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        SAID.with_borrow_mut(|all| {
            // Nobody reads more than that.
            if all.len() < 1000 {
                all.push(said);
            }
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Said {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "from" => self.from = Some(value),
            "to" => self.to = Some(value),
            _ => {}
        }
        self.record_debug(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.text, "{}={value:?} ", field.name()).expect("a string takes all");
    }
}
