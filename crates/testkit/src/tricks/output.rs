//! Children that write.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;
use std::thread;

use super::{Ended, Trick, argument, misused, parsed, raw_stderr, raw_stdout, say};

pub(super) const TRICKS: &[Trick] = &[
    Trick {
        name: "echo",
        arguments: "[WORD]...",
        does: "prints the words in one line",
        run: echo,
    },
    Trick {
        name: "args",
        arguments: "[WORD]...",
        does: "prints each word in a line",
        run: args,
    },
    Trick {
        name: "flood",
        arguments: "STREAM BYTES [CHUNK]",
        does: "writes a..z over and over to stdout or stderr",
        run: flood,
    },
    Trick {
        name: "flood-both",
        arguments: "BYTES",
        does: "the same to both at once",
        run: flood_both,
    },
    Trick {
        name: "interleave",
        arguments: "LINES",
        does: "writes `out N` and `err N` in turn",
        run: interleave,
    },
    Trick {
        name: "lines",
        arguments: "LINES",
        does: "writes `line N` to stdout",
        run: lines,
    },
    Trick {
        name: "stderr-lines",
        arguments: "LINES",
        does: "writes `line N` to stderr",
        run: stderr_lines,
    },
];

const CHUNK: usize = 64 * 1024;
const ALPHABET: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

fn echo(words: &[OsString]) -> Ended {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    say(words.join(&b' '))?;
    Ok(ExitCode::SUCCESS)
}

fn args(words: &[OsString]) -> Ended {
    for word in words {
        say(word.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn flood(arguments: &[OsString]) -> Ended {
    let stream = match argument(arguments, 0, "STREAM")?.to_str() {
        Some("stdout" | "1") => raw_stdout()?,
        Some("stderr" | "2") => raw_stderr()?,
        _ => return Err(misused("STREAM is stdout or stderr".into())),
    };
    let chunk = if arguments.len() > 2 {
        parsed(arguments, 2, "CHUNK")?
    } else {
        CHUNK
    };
    pour(stream, parsed(arguments, 1, "BYTES")?, chunk)?;
    Ok(ExitCode::SUCCESS)
}

fn flood_both(arguments: &[OsString]) -> Ended {
    let bytes = parsed(arguments, 0, "BYTES")?;
    let (stdout, stderr) = (raw_stdout()?, raw_stderr()?);
    let other = thread::spawn(move || pour(stderr, bytes, CHUNK));
    let this = pour(stdout, bytes, CHUNK);
    let other = other
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the other half panicked")));
    this.and(other)?;
    Ok(ExitCode::SUCCESS)
}

/// Byte number `i` of the stream is letter number `i % 26`, whatever the chunks are.
fn pour(mut stream: File, bytes: usize, chunk: usize) -> io::Result<()> {
    if chunk == 0 {
        return Err(misused("CHUNK is at least 1".into()));
    }
    // One more alphabet, so that a chunk can begin at any letter.
    let source: Vec<u8> = ALPHABET
        .iter()
        .copied()
        .cycle()
        .take(chunk + ALPHABET.len())
        .collect();
    let mut written = 0;
    while written < bytes {
        let first = written % ALPHABET.len();
        let part = chunk.min(bytes - written);
        stream.write_all(&source[first..first + part])?;
        written += part;
    }
    Ok(())
}

fn interleave(arguments: &[OsString]) -> Ended {
    let count: u64 = parsed(arguments, 0, "LINES")?;
    let (mut stdout, mut stderr) = (raw_stdout()?, raw_stderr()?);
    for number in 1..=count {
        stdout.write_all(format!("out {number}\n").as_bytes())?;
        stderr.write_all(format!("err {number}\n").as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(arguments: &[OsString]) -> Ended {
    number_lines(raw_stdout()?, parsed(arguments, 0, "LINES")?)
}

fn stderr_lines(arguments: &[OsString]) -> Ended {
    number_lines(raw_stderr()?, parsed(arguments, 0, "LINES")?)
}

fn number_lines(stream: File, count: u64) -> Ended {
    let mut stream = io::BufWriter::new(stream);
    for number in 1..=count {
        writeln!(stream, "line {number}")?;
    }
    stream.flush()?;
    Ok(ExitCode::SUCCESS)
}
