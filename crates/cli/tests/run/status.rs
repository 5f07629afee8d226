//! Who is told at the status socket.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use procession::child_process::Exit;
use procession_testkit::wait;

use super::stage::{NOBODY, Stage, own_user, seen};

/// Another user than root and [`NOBODY`].
const SOMEBODY: u32 = 65_533;

/// Serves nobody, and needs no Node.
const SLEEPS: &[&str] = &[
    "run", "-i", "1", "--ready", "started", "--status", "status", "sleep", "60",
];

/// What somebody is told: the exit code, and what was written.
fn told(stage: &Stage, user: u32) -> (Option<i32>, String, String) {
    let command = stage.command_by(user, &["status", "status"]);
    seen(&command.outcome_blocking().unwrap())
}

#[test]
fn the_socket_is_closed_to_others_by_its_mode_and_by_who_asks() {
    if own_user() != 0 {
        eprintln!("skipped: who is told at the status socket: only root can be another user");
        return;
    }
    let stage = Stage::new(&[]);
    stage.open_to_all();
    for user in [0, NOBODY] {
        let mut run = stage.start(&mut stage.command_by(user, SLEEPS));
        let file = stage.path("status");
        let mode = wait::until("the socket", || {
            let data = fs::metadata(&file).ok()?;
            // It is narrowed after it was made.
            Some(data.mode() & 0o777).filter(|mode| *mode == 0o600)
        });
        assert_eq!((mode, fs::metadata(&file).unwrap().uid()), (0o600, user));

        let (code, _, err) = told(&stage, SOMEBODY);
        assert_eq!(code, Some(1));
        assert!(err.contains("\n  cause: Permission denied"), "{err}");

        // Also who gets past the mode is not told, and nobody is held up by it.
        fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
        let (code, out, err) = told(&stage, SOMEBODY);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        let wanted = "error: nobody answers at `status`\n  cause: unexpected end of file\n\n\
                      hint: `procession run --status SOCKET` does, for the user who started it\n";
        assert_eq!(err, wanted);
        for friend in [0, user] {
            let (code, out, err) = told(&stage, friend);
            assert_eq!((code, err.as_str()), (Some(0), ""), "{friend} of {user}");
            assert!(out.contains("\"wanted\":1"), "{out}");
        }
        assert_eq!(run.stop(), Exit::Code(0), "{}", run.err());
        assert!(!file.exists());
    }
    stage.end();
}
