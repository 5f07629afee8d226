//! What can be an argument: anything that has one obvious text.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::Outcome;

/// A value that becomes one argument of a command: text, paths and numbers.
///
/// # Node
///
/// Node does not check the types of arguments and turns numbers into text; so
/// `spawn('node', ['command.js', 3])` works here too.
pub trait Argument {
    /// The argument's text.
    fn to_argument(&self) -> OsString;
}

macro_rules! text_argument {
    ($($type:ty),*) => {$(
        impl Argument for $type {
            fn to_argument(&self) -> OsString {
                AsRef::<OsStr>::as_ref(self).to_owned()
            }
        }
    )*};
}

macro_rules! displayed_argument {
    ($($type:ty),*) => {$(
        impl Argument for $type {
            fn to_argument(&self) -> OsString {
                self.to_string().into()
            }
        }
    )*};
}

text_argument!(str, String, OsStr, OsString, Path, PathBuf, Cow<'_, OsStr>);
displayed_argument!(
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64, bool, char
);

impl Argument for Cow<'_, str> {
    fn to_argument(&self) -> OsString {
        self.as_ref().into()
    }
}

impl<T: Argument + ?Sized> Argument for &T {
    fn to_argument(&self) -> OsString {
        (**self).to_argument()
    }
}

/// A value of the [`cmd!`](crate::cmd) macro: one argument, or a list of them.
///
/// An [`Outcome`] stands for its standard output, as in execa's templates.
pub trait Arguments {
    /// The arguments' texts.
    fn to_arguments(&self) -> Vec<OsString>;
}

macro_rules! single_arguments {
    ($($type:ty),*) => {$(
        impl Arguments for $type {
            fn to_arguments(&self) -> Vec<OsString> {
                vec![self.to_argument()]
            }
        }
    )*};
}

single_arguments!(
    str, String, OsStr, OsString, Path, PathBuf, i8, i16, i32, i64, i128, isize, u8, u16, u32, u64,
    u128, usize, f32, f64, bool, char
);

impl<T: Arguments + ?Sized> Arguments for &T {
    fn to_arguments(&self) -> Vec<OsString> {
        (**self).to_arguments()
    }
}

impl<T: Argument> Arguments for [T] {
    fn to_arguments(&self) -> Vec<OsString> {
        self.iter().map(Argument::to_argument).collect()
    }
}

impl<T: Argument, const N: usize> Arguments for [T; N] {
    fn to_arguments(&self) -> Vec<OsString> {
        self.as_slice().to_arguments()
    }
}

impl<T: Argument> Arguments for Vec<T> {
    fn to_arguments(&self) -> Vec<OsString> {
        self.as_slice().to_arguments()
    }
}

impl<T: Argument> Arguments for Option<T> {
    fn to_arguments(&self) -> Vec<OsString> {
        self.iter().map(Argument::to_argument).collect()
    }
}

impl Arguments for Outcome {
    fn to_arguments(&self) -> Vec<OsString> {
        use std::os::unix::ffi::OsStrExt;
        let text = procession_core::lines::strip_final_newline(&self.stdout);
        vec![OsStr::from_bytes(text).to_owned()]
    }
}

/// Makes a [`Command`](crate::child_process::Command) from a program and its
/// arguments, without a shell: each value is one argument, whatever it holds.
///
/// Lists give one argument for each element, an [`Outcome`](crate::child_process::Outcome)
/// stands for its output.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::cmd;
///
/// let name = cmd!("echo", "a file; rm -rf nothing").output().await?;
/// let said = cmd!("printf", "%s|", name, ["x", "y"], 3).output().await?;
/// assert_eq!(said.stdout_str()?, "a file; rm -rf nothing|x|y|3|");
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! cmd {
    ($program:expr $(, $argument:expr)* $(,)?) => {{
        #[allow(unused_mut, reason = "a command without arguments is not changed")]
        let mut command = $crate::child_process::Command::new($program);
        $(command.args($crate::child_process::Arguments::to_arguments(&$argument));)*
        command
    }};
}
