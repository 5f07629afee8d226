//! What procession's tests stand on.
//!
//! * [`leaks`] is the leak oracle: after a test, nothing it started may be left.
//! * [`wait`] waits for a fact instead of for a time.
//! * [`program`] finds the `testkit` program, which has one trick for each
//!   kind of child (`testkit` alone lists them).
//! * [`node`] finds Node.
//!
//! Linux only: most of it reads `/proc`.
#![forbid(unsafe_code)]

pub mod leaks;
pub mod node;
mod program;
pub mod wait;

pub use program::{example, program};
