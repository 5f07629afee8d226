//! A process to be: plain data that can be cloned, printed and spawned again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use procession_core::capture::Overflow;
use procession_core::lifecycle::{Scope, Stop};
use procession_sys::{Credentials, Resource, Session};
use tokio_util::sync::CancellationToken;

use super::argument::Argument;
use super::fork::{ChannelSpec, module_args};
use super::listen::ListenFd;
use super::transform::Transform;
use super::{Signal, Stdio};

/// Bytes of each output that are kept unless [`Command::max_buffer`] says otherwise.
pub const DEFAULT_MAX_BUFFER: usize = 100 * 1024 * 1024;

/// How long output is read on after the child's end, if something else holds it open.
pub const DEFAULT_DRAIN: Duration = Duration::from_millis(200);

/// A program with everything that its start needs: arguments, environment,
/// descriptors, limits.
///
/// Setters take `&mut self` and can be chained, as with `std`; spawning takes
/// `&self`, so one command starts the first child and the hundredth. It is
/// checked when it is spawned, before anything is started.
///
/// # Node
///
/// The arguments of `spawn`, `exec` and `execFile` in one value. `exec` is
/// [`Command::shell`] with [`output`](Command::output), `execFile` is
/// [`Command::new`] with `output`, and the `*Sync` forms are the `_blocking` methods.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use procession::child_process::Command;
///
/// let words = Command::shell("echo hello world | wc -w")
///     .timeout(Duration::from_secs(5))
///     .output()
///     .await?;
/// assert_eq!(words.stdout_str()?.trim(), "2");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Command {
    pub(super) program: Program,
    pub(super) args: Vec<OsString>,
    pub(super) argv0: Option<OsString>,
    pub(super) clear_env: bool,
    pub(super) env: BTreeMap<OsString, Option<OsString>>,
    pub(super) current_dir: Option<PathBuf>,
    pub(super) stdio: BTreeMap<u32, Stdio>,
    pub(super) credentials: Credentials,
    pub(super) session: Session,
    pub(super) limits: Vec<(Resource, u64, u64)>,
    pub(super) nice: i32,
    pub(super) memory_max: Option<u64>,
    pub(super) no_new_privs: bool,
    pub(super) parent_death_signal: Option<Signal>,
    pub(super) timeout: Option<Duration>,
    pub(super) stop: Stop,
    pub(super) cancel: Option<CancellationToken>,
    pub(super) tree: Tree,
    pub(super) kill_on_drop: bool,
    pub(super) drain: Drain,
    pub(super) buffers: Buffers,
    pub(super) transforms: BTreeMap<u32, Transform>,
    pub(super) all: bool,
    pub(super) channel: Option<ChannelSpec>,
    pub(super) listen: Vec<ListenFd>,
}

/// What is run.
#[derive(Clone, Debug)]
pub(super) enum Program {
    File(OsString),
    Shell {
        shell: OsString,
        line: OsString,
    },
    /// A JavaScript module and what runs it.
    Module {
        exec_path: OsString,
        exec_args: Vec<OsString>,
        module: OsString,
    },
}

/// How much of each output is kept.
#[derive(Clone, Debug)]
pub(super) struct Buffers {
    pub(super) default: MaxBuffer,
    pub(super) each: BTreeMap<u32, MaxBuffer>,
}

/// How many bytes of an output are kept, and what happens to the rest.
///
/// # Node
///
/// `maxBuffer`, whose only answer is to end the child; its default of 1 MiB is
/// a common trap, ours is 100 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxBuffer {
    /// The limit in bytes.
    pub bytes: usize,
    /// What happens above it.
    pub overflow: Overflow,
}

impl MaxBuffer {
    /// Ends the child above `bytes`.
    #[must_use]
    pub fn fail(bytes: usize) -> Self {
        Self {
            bytes,
            overflow: Overflow::Fail,
        }
    }

    /// Keeps the last `bytes`, and lets the child run.
    #[must_use]
    pub fn tail(bytes: usize) -> Self {
        Self {
            bytes,
            overflow: Overflow::KeepTail,
        }
    }

    /// Keeps the first `bytes` in memory and everything in an unnamed file in
    /// the directory for temporary files.
    #[must_use]
    pub fn spill(bytes: usize) -> Self {
        Self {
            bytes,
            overflow: Overflow::Spill,
        }
    }
}

/// What ends together with the child.
///
/// # Node
///
/// Node signals the child alone, so the programs of a shell line survive their
/// time-out. execa's `killDescendants` uses a process group, which `setsid` leaves.
///
/// # Platform
///
/// On the portable side a tree is the process group of a child that leads one
/// ([`Command::process_group`] with 0, [`Command::detached`]), else the child alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tree {
    /// The child alone, as in Node.
    Process,
    /// On a stop, time-out, cancellation or too much output: whatever descends
    /// from it at that moment. Costs nothing before. Misses daemons that were re-parented.
    #[default]
    Walk,
    /// Whatever it ever started, also when it ends by itself: a control group
    /// where one can be made, else the child as the subreaper of its
    /// descendants. [`Child::tree_level`](super::Child::tree_level) says which.
    Contain,
}

impl Tree {
    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Process => Scope::Process,
            Self::Walk => Scope::TreeOnStop,
            Self::Contain => Scope::Tree,
        }
    }
}

/// How long output is read after the child's end while something else holds it open.
///
/// What the child itself wrote is in the pipe when it ends and is always read.
///
/// # Node
///
/// Always [`Drain::UntilClosed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// For so long; then [`Outcome::leaked`](super::Outcome::leaked) says what is still open.
    For(Duration),
    /// Until everybody has closed it, as Node's `close` event does: for ever, if need be.
    UntilClosed,
}

impl Command {
    /// A program, found by `PATH` unless it holds a slash. No shell is involved.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self::of(Program::File(program.as_ref().to_owned()))
    }

    /// A line for `/bin/sh`. Arguments that are added are quoted and appended.
    ///
    /// Never put text from elsewhere into the line: give it as arguments.
    pub fn shell(line: impl AsRef<OsStr>) -> Self {
        Self::shell_with("/bin/sh", line)
    }

    /// A line for another shell that knows `-c`.
    pub fn shell_with(shell: impl AsRef<OsStr>, line: impl AsRef<OsStr>) -> Self {
        let (shell, line) = (shell.as_ref().to_owned(), line.as_ref().to_owned());
        Self::of(Program::Shell { shell, line })
    }

    /// The words of a line, split as a shell would, without running one.
    ///
    /// `None` when a quote is not closed or there is no word.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession::child_process::Command;
    ///
    /// let command = Command::parse("git log --format='%h %s' $HOME").ok_or("no words")?;
    /// assert_eq!(command.to_string(), "git log '--format=%h %s' '$HOME'");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = shlex::split(line)?.into_iter();
        let mut command = Self::new(words.next()?);
        command.args(words);
        Some(command)
    }

    pub(super) fn of(program: Program) -> Self {
        Self {
            program,
            args: Vec::new(),
            argv0: None,
            clear_env: false,
            env: BTreeMap::new(),
            current_dir: None,
            stdio: BTreeMap::new(),
            credentials: Credentials::default(),
            session: Session::Inherit,
            limits: Vec::new(),
            nice: 0,
            memory_max: None,
            no_new_privs: false,
            parent_death_signal: None,
            timeout: None,
            stop: Stop::default(),
            cancel: None,
            tree: Tree::default(),
            kill_on_drop: false,
            drain: Drain::For(DEFAULT_DRAIN),
            buffers: Buffers {
                default: MaxBuffer::fail(DEFAULT_MAX_BUFFER),
                each: BTreeMap::new(),
            },
            transforms: BTreeMap::new(),
            all: false,
            channel: None,
            listen: Vec::new(),
        }
    }

    /// Adds an argument. Numbers are welcome.
    pub fn arg(&mut self, arg: impl Argument) -> &mut Self {
        self.args.push(arg.to_argument());
        self
    }

    /// Adds arguments.
    pub fn args<A: Argument>(&mut self, args: impl IntoIterator<Item = A>) -> &mut Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.to_argument()));
        self
    }

    /// Sets `argv[0]`; by default the program as given (Node's `argv0`).
    pub fn argv0(&mut self, argv0: impl AsRef<OsStr>) -> &mut Self {
        self.argv0 = Some(argv0.as_ref().to_owned());
        self
    }

    /// Sets a variable of the child's environment, which otherwise is ours.
    ///
    /// # Node
    ///
    /// execa's `env` with `extendEnv`; Node's `env` replaces everything, as
    /// [`Command::env_clear`] does first.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl Argument) -> &mut Self {
        self.env
            .insert(name.as_ref().to_owned(), Some(value.to_argument()));
        self
    }

    /// Sets variables.
    pub fn envs<N: AsRef<OsStr>, V: Argument>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Takes a variable away.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.env.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Begins with an empty environment, and forgets what was set before.
    pub fn env_clear(&mut self) -> &mut Self {
        self.clear_env = true;
        self.env.clear();
        self
    }

    /// Sets the working directory (Node's `cwd`).
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.current_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Connects standard input.
    ///
    /// Default: a pipe for [`spawn`](Command::spawn), as in Node; ours for
    /// [`status`](Command::status); nothing to read for the methods that collect output.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio(0, stdio)
    }

    /// Connects standard output.
    ///
    /// Default: a pipe; ours for [`status`](Command::status).
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio(1, stdio)
    }

    /// Connects standard error.
    ///
    /// Default: a pipe; ours for [`status`](Command::status).
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio(2, stdio)
    }

    /// Connects any descriptor. The child has those declared, 0, 1 and 2, and no other.
    pub fn stdio(&mut self, index: u32, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio.insert(index, stdio.into());
        self
    }

    /// Feeds standard input from memory.
    pub fn input(&mut self, bytes: impl Into<Bytes>) -> &mut Self {
        self.stdin(Stdio::Bytes(bytes.into()))
    }

    /// Feeds standard input from a file.
    pub fn input_file(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.stdin(Stdio::read(path))
    }

    /// Runs as this user. The supplementary groups are dropped unless
    /// [`Command::groups`] gives others, or we have no right to drop them.
    ///
    /// # Node
    ///
    /// `uid`.
    pub fn uid(&mut self, uid: u32) -> &mut Self {
        self.credentials.uid = Some(uid);
        self
    }

    /// Runs as this group. The supplementary groups go as with [`Command::uid`].
    ///
    /// # Node
    ///
    /// `gid`.
    pub fn gid(&mut self, gid: u32) -> &mut Self {
        self.credentials.gid = Some(gid);
        self
    }

    /// Runs with these supplementary groups.
    pub fn groups(&mut self, groups: &[u32]) -> &mut Self {
        self.credentials.groups = Some(groups.to_vec());
        self
    }

    /// Gives the child a session of its own (`setsid`): the terminal's signals do not reach it.
    ///
    /// # Node
    ///
    /// `detached`. There `unref` lets the parent end first; here nothing holds it.
    pub fn detached(&mut self) -> &mut Self {
        self.session = Session::New;
        self
    }

    /// Puts the child into a process group; 0 is a new one of its own.
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.session = Session::Group(group);
        self
    }

    /// Forbids the child to gain privileges, by setuid programs for instance.
    ///
    /// # Platform
    ///
    /// Linux; elsewhere the spawn fails with `ENOTSUP`.
    pub fn no_new_privs(&mut self) -> &mut Self {
        self.no_new_privs = true;
        self
    }

    /// Has the kernel send this signal to the child when our process is gone,
    /// however it went. The child's own children are not told.
    ///
    /// # Platform
    ///
    /// Linux; elsewhere the spawn fails with `ENOTSUP`.
    pub fn parent_death_signal(&mut self, signal: Signal) -> &mut Self {
        self.parent_death_signal = Some(signal);
        self
    }

    /// Ends the child after this time: the polite signal, the grace period, `SIGKILL`.
    ///
    /// # Node
    ///
    /// `timeout`, which never escalates.
    pub fn timeout(&mut self, limit: Duration) -> &mut Self {
        self.timeout = Some(limit);
        self
    }

    /// The polite signal for time-out, cancellation and too much output; default `SIGTERM`.
    pub fn kill_signal(&mut self, signal: Signal) -> &mut Self {
        self.stop.signal = signal;
        self
    }

    /// How long the polite signal may take before `SIGKILL`; default 5 s (execa's
    /// `forceKillAfterDelay`).
    pub fn grace(&mut self, grace: Duration) -> &mut Self {
        self.stop.grace = grace;
        self
    }

    /// Ends the child when the token is cancelled.
    ///
    /// The `_blocking` methods look at it every 10 ms.
    ///
    /// # Node
    ///
    /// The option `signal`.
    pub fn cancel_on(&mut self, token: CancellationToken) -> &mut Self {
        self.cancel = Some(token);
        self
    }

    /// Says what ends together with the child; default [`Tree::Walk`].
    pub fn tree(&mut self, tree: Tree) -> &mut Self {
        self.tree = tree;
        self
    }

    /// Kills the child (and its [`tree`](Command::tree)) when its handle, or the
    /// future that runs it, is dropped. By default it goes on and is reaped when it ends.
    pub fn kill_on_drop(&mut self) -> &mut Self {
        self.kill_on_drop = true;
        self
    }

    /// How long output is read after the child's end; default [`DEFAULT_DRAIN`].
    pub fn drain(&mut self, drain: Drain) -> &mut Self {
        self.drain = drain;
        self
    }

    /// How much of each output is kept; default [`DEFAULT_MAX_BUFFER`], then the child is ended.
    pub fn max_buffer(&mut self, limit: MaxBuffer) -> &mut Self {
        self.buffers.default = limit;
        self
    }

    /// How much of one descriptor's output is kept.
    pub fn max_buffer_of(&mut self, index: u32, limit: MaxBuffer) -> &mut Self {
        self.buffers.each.insert(index, limit);
        self
    }

    /// Changes or drops the lines of an output before they are kept or passed on.
    pub fn transform(&mut self, index: u32, transform: Transform) -> &mut Self {
        self.transforms.insert(index, transform);
        self
    }

    /// Keeps standard output and error interleaved as well, as they arrived: the
    /// last bytes up to the limit of [`Command::max_buffer`].
    ///
    /// # Node
    ///
    /// execa's `all`.
    pub fn all(&mut self) -> &mut Self {
        self.all = true;
        self
    }

    /// The program as it was given; for a shell line, the shell.
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        match &self.program {
            Program::File(program) => program,
            Program::Shell { shell, .. } => shell,
            Program::Module { exec_path, .. } => exec_path,
        }
    }

    pub(super) fn buffer_of(&self, index: u32) -> &MaxBuffer {
        self.buffers
            .each
            .get(&index)
            .unwrap_or(&self.buffers.default)
    }

    /// `argv` without `argv[0]`.
    pub(super) fn final_args(&self) -> Cow<'_, [OsString]> {
        match &self.program {
            Program::File(_) => Cow::from(&self.args),
            Program::Shell { line, .. } => {
                let mut line = line.clone();
                for arg in &self.args {
                    line.push(" ");
                    line.push(quoted(arg));
                }
                Cow::from(vec!["-c".into(), line])
            }
            Program::Module {
                exec_args, module, ..
            } => module_args(exec_args, module, &self.args).into(),
        }
    }
}

/// The command as it would be typed, each word quoted where it needs it.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, args) = match &self.program {
            Program::File(program) => (quoted(program), None),
            Program::Shell { line, .. } => (line.clone(), None),
            Program::Module { exec_path, .. } => (quoted(exec_path), Some(self.final_args())),
        };
        f.write_str(&first.to_string_lossy())?;
        for arg in args.as_deref().unwrap_or(&self.args) {
            write!(f, " {}", quoted(arg).to_string_lossy())?;
        }
        Ok(())
    }
}

/// One word for a shell. A NUL, which no shell can pass, is shown as it is.
fn quoted(word: &OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    match shlex::bytes::try_quote(word.as_bytes()) {
        Ok(quoted) => OsString::from_vec(quoted.into_owned()),
        Err(_) => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("git");
        command
            .arg("commit")
            .arg("-m")
            .arg("it's done; really")
            .arg(3);
        assert_eq!(
            command.to_string(),
            r#"git commit -m "it's done; really" 3"#
        );
        assert_eq!(Command::shell("ls | wc -l").to_string(), "ls | wc -l");
    }

    #[test]
    fn arguments_of_a_shell_line_are_quoted() {
        let mut command = Command::shell("printf '%s\\n'");
        command.arg("$(reboot)").arg("a b");
        let args = command.final_args();
        assert_eq!(args[1], r#"printf '%s\n' '$(reboot)' 'a b'"#);
    }

    #[test]
    fn words_are_split_without_a_shell() {
        let command = Command::parse("git log --format='%h %s' $HOME").unwrap();
        assert_eq!(command.get_program(), "git");
        assert_eq!(command.args, ["log", "--format=%h %s", "$HOME"]);
        assert!(Command::parse("  ").is_none());
        assert!(Command::parse("echo 'open").is_none());
    }
}
