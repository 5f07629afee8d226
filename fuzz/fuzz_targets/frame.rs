//! Any way of cutting the wire gives the same frames, within the limit.
//!
//! The first byte chooses the serialization and the pieces, the second the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procession_core::ipc::Serialization;
use procession_core::ipc::frame::{FrameTooLong, Framer, write};

fuzz_target!(|input: &[u8]| {
    let [choice, limit, wire @ ..] = input else {
        return;
    };
    let serialization = if choice & 1 == 0 {
        Serialization::Json
    } else {
        Serialization::Advanced
    };
    let limit = usize::from(*limit) * 16;
    let new = || Framer::new(serialization, limit);
    let whole = frames_of(new(), wire.chunks(wire.len().max(1)));
    assert_eq!(frames_of(new(), wire.chunks(1)), whole);
    assert_eq!(
        frames_of(new(), wire.chunks(usize::from(choice / 2) + 1)),
        whole
    );
    assert!(whole.0.iter().all(|frame| frame.len() <= limit));
    let mut again = Vec::new();
    for frame in &whole.0 {
        write(serialization, frame, &mut again).expect("the frame is small");
    }
    assert!(
        wire.starts_with(&again),
        "the frames are what the wire said"
    );
});

fn frames_of<'a>(
    mut framer: Framer,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Vec<u8>>, Option<FrameTooLong>, usize) {
    let mut frames = Vec::new();
    for piece in pieces {
        framer.feed(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                // How much is held then depends on the pieces.
                Err(error) => return (frames, Some(error), 0),
            }
        }
    }
    (frames, None, framer.buffered())
}
