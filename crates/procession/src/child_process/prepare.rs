//! From a command to a plan: everything is checked, looked up and opened here,
//! before anything is started.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use procession_sys::{FdAssignment, Process, SpawnPlan, Step};

use super::command::{Command, Program};
use super::error::{SpawnError, name_of};
use super::listen::LISTEN_VARIABLES;
use super::stdio::{FileMode, Stdio, Target};
use super::trace;

/// Where programs are looked for without a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";
/// The highest descriptor that a child may declare.
const HIGHEST_FD: u32 = 65_535;
/// What a channel of ours must not leak to a child that has none of its own.
const CHANNEL_VARIABLES: [&CStr; 3] = [CHANNEL_FD, CHANNEL_MODE, c"NODE_UNIQUE_ID"];
const CHANNEL_FD: &CStr = c"NODE_CHANNEL_FD";
const CHANNEL_MODE: &CStr = c"NODE_CHANNEL_SERIALIZATION_MODE";

/// What the descriptors are connected to where the command does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defaults {
    /// Three pipes, as Node's `spawn`.
    Pipes,
    /// Nothing to read, two pipes: for collecting.
    Collect,
    /// Ours.
    Inherit,
}

impl Defaults {
    fn stdio(self, index: u32) -> Stdio {
        match (self, index) {
            (Self::Inherit, _) => Stdio::Inherit,
            (Self::Collect, 0) => Stdio::Ignore,
            (Self::Collect | Self::Pipes, _) => Stdio::Pipe,
        }
    }
}

/// Our side of one descriptor.
#[derive(Debug)]
pub(super) enum OurEnd {
    /// We write, the child reads.
    Writer(OwnedFd, Option<Bytes>),
    /// The child writes, we read and keep.
    Reader(OwnedFd),
    /// The child writes, we read and pass on.
    Tee(OwnedFd, Vec<Destination>),
    /// Both ways.
    Duplex(OwnedFd),
}

/// One opened target of a tee.
#[derive(Debug)]
pub(super) enum Destination {
    Capture,
    Fd(Arc<OwnedFd>),
}

/// The child's side of one descriptor.
enum TheirEnd {
    Owned(OwnedFd),
    Shared(Arc<OwnedFd>),
    Null,
    Standard(u32),
}

/// A started process and our sides of its descriptors.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) ends: BTreeMap<u32, OurEnd>,
    pub(super) channel: Option<OwnedFd>,
    pub(super) at: Instant,
}

/// Starts the command.
pub(super) fn start(command: &Command, defaults: Defaults) -> Result<Started, SpawnError> {
    let result = open_and_start(command, defaults);
    trace::start(
        command,
        &result.as_ref().map(|started| started.process.id()),
    );
    result
}

fn open_and_start(command: &Command, defaults: Defaults) -> Result<Started, SpawnError> {
    // All of it before the first file is opened: a mistake empties none.
    check_times(command)?;
    check_memory(command)?;
    check_indexes(command)?;
    let checked = plan(command)?;
    let mut opening = Opening {
        command,
        ours: BTreeMap::new(),
        theirs: Vec::new(),
    };
    let channel = opening.channel()?;
    opening.listeners();
    for index in 0..3 {
        if !command.stdio.contains_key(&index) && !opening.has(index) {
            opening.connect(index, &defaults.stdio(index))?;
        }
    }
    for (index, stdio) in &command.stdio {
        opening.connect(*index, stdio)?;
    }
    let Opening { ours, theirs, .. } = opening;
    let streams = Streams::default();
    let mut plan = checked;
    for (index, end) in &theirs {
        let index = index.cast_signed();
        let source = match end {
            TheirEnd::Owned(fd) => fd.as_fd(),
            TheirEnd::Shared(fd) => fd.as_fd(),
            TheirEnd::Standard(number) => streams.get(*number),
            TheirEnd::Null => {
                plan.null_fds.push(index);
                continue;
            }
        };
        plan.fds.push(FdAssignment { index, source });
    }
    let at = Instant::now();
    let process = start_plan(&plan).map_err(|error| blame(command, error))?;
    Ok(Started {
        process,
        ends: ours,
        channel,
        at,
    })
}

/// Retries a program that is just being written (`ETXTBSY`): another thread of
/// ours may have forked while it held the file open.
fn start_plan(plan: &SpawnPlan<'_>) -> Result<Process, procession_sys::StartError> {
    let mut pause = Duration::from_millis(1);
    loop {
        match procession_sys::fork_and_exec(plan) {
            Err(error)
                if error.source.kind() == io::ErrorKind::ExecutableFileBusy
                    && pause < Duration::from_millis(8) =>
            {
                std::thread::sleep(pause);
                pause *= 2;
            }
            result => return result,
        }
    }
}

/// The plan without its descriptors.
fn plan<'a>(command: &Command) -> Result<SpawnPlan<'a>, SpawnError> {
    let program = command.get_program();
    if program.is_empty() {
        return Err(invalid(command, "program", "it is empty"));
    }
    // Before `argv0`, which is the same text unless it was set.
    let programs = candidates(command, program)?;
    let argv0 = command.argv0.as_deref().unwrap_or(program);
    let mut args = vec![c_string(command, argv0.as_bytes(), || "argv0".into())?];
    for (number, arg) in command.final_args().iter().enumerate() {
        args.push(c_string(command, arg.as_bytes(), || {
            format!("argument {}", number + 1)
        })?);
    }
    let variables = environment(command)?;
    let cwd = command.current_dir.as_deref().map(Path::as_os_str);
    Ok(SpawnPlan {
        programs,
        args,
        inherit_env: !command.clear_env,
        env_without: variables.without,
        env: variables.with,
        listen_pid: !command.listen.is_empty(),
        cwd: cwd
            .map(|dir| c_string(command, dir.as_bytes(), || "current_dir".into()))
            .transpose()?,
        fds: Vec::new(),
        null_fds: Vec::new(),
        credentials: command.credentials.clone(),
        session: command.session,
        limits: command.limits.clone(),
        nice: command.nice,
        no_new_privs: command.no_new_privs,
        parent_death_signal: command.parent_death_signal.map(super::Signal::as_raw),
        contain: command.tree == super::Tree::Contain,
        memory_max: command.memory_max,
    })
}

/// The paths at which the program may be, in the order of `PATH`.
fn candidates(command: &Command, program: &OsStr) -> Result<Vec<CString>, SpawnError> {
    let what = || "program".into();
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(command, program.as_bytes(), what)?]);
    }
    search_path(command)
        .as_bytes()
        .split(|byte| *byte == b':')
        .map(|dir| {
            // An empty entry is the current directory.
            let dir = if dir.is_empty() {
                Path::new(".")
            } else {
                Path::new(OsStr::from_bytes(dir))
            };
            c_string(command, dir.join(program).into_os_string().into_vec(), what)
        })
        .collect()
}

/// The command's changes to our environment.
struct Variables {
    without: Vec<Cow<'static, CStr>>,
    with: Vec<CString>,
}

/// What is changed is not inherited, nor is what belongs to a channel of ours.
fn environment(command: &Command) -> Result<Variables, SpawnError> {
    let mut variables = Variables {
        without: CHANNEL_VARIABLES.map(Cow::from).to_vec(),
        with: Vec::new(),
    };
    for (name, value) in &command.env {
        if command.channel.is_some() && is_of_channel(name) || command.is_of_listen(name) {
            continue;
        }
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(invalid(
                command,
                "environment",
                "a name is empty or holds `=`",
            ));
        }
        variables
            .without
            .push(c_string(command, name.as_bytes(), || "environment".into())?.into());
        if let Some(value) = value {
            let mut entry = OsString::with_capacity(name.len() + value.len() + 2);
            entry.push(name);
            entry.push("=");
            entry.push(value);
            variables.with.push(c_string(command, entry.into_vec(), || {
                "environment".into()
            })?);
        }
    }
    if !command.listen.is_empty() {
        variables.without.extend(LISTEN_VARIABLES.map(Cow::from));
        variables.with.extend(command.listen_variables());
    }
    if let Some(channel) = &command.channel {
        let mode = channel.serialization.name();
        for (name, value) in [
            (CHANNEL_FD, command.channel_index(channel).to_string()),
            (CHANNEL_MODE, mode.into()),
        ] {
            let mut entry = OsStr::from_bytes(name.to_bytes()).to_owned();
            entry.push("=");
            entry.push(value);
            let what = || "environment".into();
            variables
                .with
                .push(c_string(command, entry.into_vec(), what)?);
        }
    }
    Ok(variables)
}

/// Ours win over stale copies, as Node's do.
fn is_of_channel(name: &OsStr) -> bool {
    [CHANNEL_FD, CHANNEL_MODE]
        .iter()
        .any(|own| own.to_bytes() == name.as_bytes())
}

/// The `PATH` that the child will have: programs are looked for there, as Node does.
fn search_path(command: &Command) -> OsString {
    let given = match command.env.get(OsStr::new("PATH")) {
        Some(changed) => changed.clone(),
        None if command.clear_env => None,
        None => std::env::var_os("PATH"),
    };
    given.unwrap_or_else(|| DEFAULT_PATH.into())
}

fn check_times(command: &Command) -> Result<(), SpawnError> {
    let reachable = |time| Instant::now().checked_add(time).is_some();
    if command.timeout.is_some_and(|time| time.is_zero()) {
        return Err(invalid(
            command,
            "timeout",
            "it is zero; leave it out for no limit",
        ));
    }
    if command.timeout.is_some_and(|time| !reachable(time)) {
        return Err(invalid(command, "timeout", "it is out of range"));
    }
    if !reachable(command.stop.grace) {
        return Err(invalid(command, "grace", "it is out of range"));
    }
    if command.stop.signal == super::Signal::PROBE {
        return Err(invalid(
            command,
            "kill_signal",
            "0 only probes; it ends nobody",
        ));
    }
    Ok(())
}

fn check_memory(command: &Command) -> Result<(), SpawnError> {
    let wrong = match (command.memory_max, command.tree) {
        (Some(0), _) => "it is zero; leave it out for no limit",
        (Some(_), super::Tree::Process | super::Tree::Walk) => "it needs `Tree::Contain`",
        (Some(_), super::Tree::Contain) | (None, _) => return Ok(()),
    };
    Err(invalid(command, "memory_max", wrong))
}

fn check_indexes(command: &Command) -> Result<(), SpawnError> {
    for (index, stdio) in &command.stdio {
        if *index > HIGHEST_FD {
            let option = format!("stdio {index}");
            return Err(invalid(command, option, "it is out of range"));
        }
        if *index == 0 && matches!(stdio, Stdio::Tee(_)) {
            return Err(invalid(command, "stdin", "a tee is for output"));
        }
    }
    if let Some(problem) = command.listen_problem(HIGHEST_FD) {
        return Err(invalid(command, "listen_fd", problem));
    }
    if let Some(channel) = &command.channel {
        let index = command.channel_index(channel);
        if index > HIGHEST_FD {
            return Err(invalid(command, "ipc", "its descriptor is out of range"));
        }
        if command.stdio.contains_key(&index) || command.listen_indexes().contains(&index) {
            let reason = "its descriptor is connected to something else";
            return Err(invalid(command, "ipc", reason));
        }
    }
    Ok(())
}

fn invalid(command: &Command, option: impl Into<String>, reason: &'static str) -> SpawnError {
    SpawnError::Invalid {
        command: command.to_string(),
        option: option.into(),
        reason,
    }
}

fn c_string(
    command: &Command,
    text: impl Into<Vec<u8>>,
    what: impl FnOnce() -> String,
) -> Result<CString, SpawnError> {
    CString::new(text).map_err(|_| invalid(command, what(), "it holds a NUL byte"))
}

/// Says who is to blame for a step that failed.
fn blame(command: &Command, error: procession_sys::StartError) -> SpawnError {
    let culprit = match error.step {
        Step::Chdir => command.current_dir.clone(),
        Step::Exec => Some(match &command.program {
            Program::File(program) => PathBuf::from(program),
            Program::Shell { shell, .. } => PathBuf::from(shell),
            Program::Module { exec_path, .. } => PathBuf::from(exec_path),
        }),
        Step::Prepare
        | Step::Memory
        | Step::Clone
        | Step::Signals
        | Step::Session
        | Step::Cgroup
        | Step::Descriptors
        | Step::Limits
        | Step::Nice
        | Step::Groups
        | Step::Gid
        | Step::Uid
        | Step::Attributes => None,
    };
    SpawnError::Start {
        command: command.to_string(),
        step: error.step,
        culprit,
        source: error.source,
    }
}

/// Descriptors on their way: ours to keep, theirs until the start is done.
struct Opening<'c> {
    command: &'c Command,
    ours: BTreeMap<u32, OurEnd>,
    theirs: Vec<(u32, TheirEnd)>,
}

impl Opening<'_> {
    fn has(&self, index: u32) -> bool {
        self.theirs.iter().any(|(own, _)| *own == index)
    }

    /// Their end stays blocking, as Node's children find it.
    fn channel(&mut self) -> Result<Option<OwnedFd>, SpawnError> {
        let Some(channel) = &self.command.channel else {
            return Ok(None);
        };
        let pair = if channel.is_cluster {
            procession_sys::small_channel_pair()
        } else {
            procession_sys::channel_pair()
        };
        let (ours, theirs) = pair.map_err(|e| self.failed("a socket for the channel".into(), e))?;
        let index = self.command.channel_index(channel);
        self.theirs.push((index, TheirEnd::Owned(theirs)));
        Ok(Some(ours))
    }

    fn listeners(&mut self) {
        let sockets = self.command.listen.iter();
        let ends = sockets.map(|socket| TheirEnd::Shared(Arc::clone(&socket.fd)));
        self.theirs.extend(self.command.listen_indexes().zip(ends));
    }

    fn connect(&mut self, index: u32, stdio: &Stdio) -> Result<(), SpawnError> {
        let theirs = match stdio {
            Stdio::Ignore => TheirEnd::Null,
            Stdio::Inherit => inherited(index).map_err(|e| self.failed(name_of(index), e))?,
            Stdio::Fd(fd) => TheirEnd::Shared(Arc::clone(fd)),
            Stdio::File(path, mode) => TheirEnd::Owned(self.open(path, *mode)?),
            Stdio::Bytes(bytes) => self.writer(index, Some(bytes.clone()))?,
            Stdio::Pipe if index == 0 => self.writer(index, None)?,
            Stdio::Pipe if index > 2 => {
                let (ours, theirs) = self.pair(index, procession_sys::duplex_pair)?;
                self.ours.insert(index, OurEnd::Duplex(ours));
                TheirEnd::Owned(theirs)
            }
            Stdio::Pipe => self.reader(index, OurEnd::Reader)?,
            Stdio::Tee(targets) => {
                let destinations = self.destinations(index, targets)?;
                self.reader(index, |ours| OurEnd::Tee(ours, destinations))?
            }
        };
        self.theirs.push((index, theirs));
        Ok(())
    }

    fn writer(&mut self, index: u32, bytes: Option<Bytes>) -> Result<TheirEnd, SpawnError> {
        let write_end_first = || procession_sys::pipe_pair().map(|(read, write)| (write, read));
        let (ours, theirs) = self.pair(index, write_end_first)?;
        self.ours.insert(index, OurEnd::Writer(ours, bytes));
        Ok(TheirEnd::Owned(theirs))
    }

    fn reader(
        &mut self,
        index: u32,
        end: impl FnOnce(OwnedFd) -> OurEnd,
    ) -> Result<TheirEnd, SpawnError> {
        let (ours, theirs) = self.pair(index, procession_sys::pipe_pair)?;
        self.ours.insert(index, end(ours));
        Ok(TheirEnd::Owned(theirs))
    }

    /// Makes a pair (ours, theirs); our side never blocks. `O_NONBLOCK` is a side's
    /// own: the ends of a pipe and of a socket pair are separate open files.
    fn pair(
        &self,
        index: u32,
        make: fn() -> io::Result<(OwnedFd, OwnedFd)>,
    ) -> Result<(OwnedFd, OwnedFd), SpawnError> {
        let made = make().and_then(|(ours, theirs)| {
            procession_sys::set_nonblocking(&ours, true)?;
            Ok((ours, theirs))
        });
        made.map_err(|e| self.failed(format!("a pipe for {}", name_of(index)), e))
    }

    fn destinations(&self, index: u32, targets: &[Target]) -> Result<Vec<Destination>, SpawnError> {
        targets
            .iter()
            .map(|target| {
                Ok(match target {
                    Target::Capture => Destination::Capture,
                    Target::Inherit => {
                        let own = procession_sys::duplicate(index)
                            .map_err(|e| self.failed(name_of(index), e))?;
                        Destination::Fd(Arc::new(own))
                    }
                    Target::Fd(fd) => Destination::Fd(Arc::clone(fd)),
                    Target::File(path, mode) => Destination::Fd(Arc::new(self.open(path, *mode)?)),
                })
            })
            .collect()
    }

    fn open(&self, path: &Path, mode: FileMode) -> Result<OwnedFd, SpawnError> {
        let mut options = OpenOptions::new();
        match mode {
            FileMode::Read => options.read(true),
            FileMode::Write => options.write(true).create(true).truncate(true),
            FileMode::Append => options.append(true).create(true),
        };
        let opened: io::Result<File> = options.open(path);
        opened
            .map(OwnedFd::from)
            .map_err(|e| self.failed(format!("`{}`", path.display()), e))
    }

    fn failed(&self, what: String, source: io::Error) -> SpawnError {
        SpawnError::Open {
            command: self.command.to_string(),
            what,
            source,
        }
    }
}

fn inherited(index: u32) -> io::Result<TheirEnd> {
    if index < 3 {
        Ok(TheirEnd::Standard(index))
    } else {
        procession_sys::duplicate(index).map(TheirEnd::Owned)
    }
}

/// Our own three streams, to borrow from.
struct Streams {
    stdin: io::Stdin,
    stdout: io::Stdout,
    stderr: io::Stderr,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            stdin: io::stdin(),
            stdout: io::stdout(),
            stderr: io::stderr(),
        }
    }
}

impl Streams {
    fn get(&self, number: u32) -> BorrowedFd<'_> {
        match number {
            0 => self.stdin.as_fd(),
            1 => self.stdout.as_fd(),
            _ => self.stderr.as_fd(),
        }
    }
}
