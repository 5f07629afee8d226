//! The hub itself: one task in the root process that owns what all share.
//!
//! It never waits for a member: what a member does not read is counted, and
//! who does not read its answers is not listened to meanwhile.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use tokio::sync::mpsc;

use super::table::{Key, Table};
use super::wire::{self, Asked, FromHub, MOST_FAMILY, MOST_MEMBERS, MOST_NAME, MOST_PLACES, ToHub};
use crate::ipc::post::Frame;
use crate::ipc::{Channel, Handle, Receiver, SendError, Sender, Serialization};

/// What members said and the hub has not looked at yet; then they are not read.
const UNSEEN: usize = 64;

/// The member that the root itself is.
const ROOT: u64 = 0;

/// What the hub learns.
enum Event {
    Said(u64, ToHub, Option<Handle>),
    /// There is room in its queue again.
    Room(u64),
    Gone(u64),
}

pub(super) struct Host {
    members: HashMap<u64, Member>,
    next: u64,
    locks: Table,
    events: mpsc::Receiver<Event>,
    /// For whom speaks for a member.
    told: mpsc::Sender<Event>,
}

struct Member {
    tx: Sender,
    /// Who was seated by the root, and so stands for this one.
    family: u64,
    pid: u32,
    /// What it listens to, and how many posts it has missed since there was room.
    names: HashMap<String, u64>,
    /// Somebody waits for room in its queue.
    is_watched: bool,
    /// Locks that it holds or waits for.
    locks: usize,
}

/// A member did what no honest one does.
struct Breach;

impl Host {
    /// A hub whose first member, the root, is at the other end of the socket.
    pub(super) fn start(root: OwnedFd) -> io::Result<()> {
        let (told, events) = mpsc::channel(UNSEEN);
        let mut host = Self {
            members: HashMap::new(),
            next: ROOT,
            locks: Table::default(),
            events,
            told,
        };
        host.admit(root, ROOT)?;
        tokio::spawn(host.serve());
        Ok(())
    }

    /// Until the last member has left.
    async fn serve(mut self) {
        while !self.members.is_empty()
            && let Some(event) = self.events.recv().await
        {
            match event {
                Event::Said(member, said, handle) => {
                    if self.hear(member, said, handle).is_err() {
                        self.remove(member);
                    }
                }
                Event::Room(member) => self.tell_missed(member),
                Event::Gone(member) => self.remove(member),
            }
        }
    }

    fn admit(&mut self, socket: OwnedFd, by: u64) -> io::Result<()> {
        let peer = "a member of the hub".to_owned();
        let channel = Channel::new(socket, Serialization::Json, wire::limits(), peer)?;
        let id = self.next;
        self.next += 1;
        let family = match self.members.get(&by) {
            Some(seater) if by != ROOT => seater.family,
            Some(_) | None => id,
        };
        let Channel { tx, rx } = channel;
        tell(&tx, &FromHub::Welcome);
        tokio::spawn(listen(id, tx.clone(), rx, self.told.clone()));
        let member = Member {
            tx,
            family,
            pid: 0,
            names: HashMap::new(),
            is_watched: false,
            locks: 0,
        };
        self.members.insert(id, member);
        Ok(())
    }

    /// Its locks go to the next, its listeners are gone.
    fn remove(&mut self, member: u64) {
        if let Some(gone) = self.members.remove(&member) {
            // One that reads nothing would stay for ever.
            gone.tx.cut();
            let granted = self.locks.leave(member);
            self.grant(&granted);
        }
    }

    fn hear(&mut self, from: u64, said: ToHub, handle: Option<Handle>) -> Result<(), Breach> {
        // One that had to go may have said more.
        let Some(member) = self.members.get_mut(&from) else {
            return Ok(());
        };
        match said {
            ToHub::Hello { pid } => member.pid = pid,
            ToHub::Listen { id, name } => {
                let is_new = !member.names.contains_key(&name);
                if name.len() > MOST_NAME || (is_new && member.names.len() >= MOST_PLACES) {
                    return Err(Breach);
                }
                member.names.entry(name).or_default();
                tell(&member.tx, &FromHub::Done { id });
            }
            ToHub::Leave { name } => {
                member.names.remove(&name);
            }
            ToHub::Post {
                name,
                from: own,
                body,
            } => self.post(from, own, &name, &body)?,
            ToHub::Request {
                id,
                name,
                is_shared,
                waits,
            } => {
                let answer = self.request(Key { member: from, id }, &name, is_shared, waits)?;
                self.answer(from, answer);
            }
            ToHub::Release { id } => {
                if let Some(granted) = self.locks.release(Key { member: from, id }) {
                    member.locks -= 1;
                    self.grant(&granted);
                }
            }
            ToHub::Query { id } => {
                let all = self.asked();
                self.answer(from, Some(FromHub::Locks { id, all }));
            }
            ToHub::Seat => self.seat(from, handle.ok_or(Breach)?)?,
        }
        Ok(())
    }

    /// One more, unless there are enough: then its socket is closed, which it sees.
    fn seat(&mut self, by: u64, handle: Handle) -> Result<(), Breach> {
        let Handle::UnixStream(socket) = handle else {
            return Err(Breach);
        };
        let family = self.members.get(&by).map(|seater| seater.family);
        let relatives = self.members.values();
        let relatives = relatives.filter(|member| Some(member.family) == family);
        let is_full =
            self.members.len() >= MOST_MEMBERS || (by != ROOT && relatives.count() >= MOST_FAMILY);
        if !is_full {
            // A shortage of ours: the new one sees it as a full hub.
            let _ = self.admit(socket.into(), by);
        }
        Ok(())
    }

    fn post(&mut self, from: u64, own: u64, name: &str, body: &str) -> Result<(), Breach> {
        let told = |from| FromHub::Told {
            name: name.to_owned(),
            from,
            body: body.to_owned(),
        };
        // For the poster's process and for all others: written once each.
        let mut frames = [None, None];
        for (id, member) in &mut self.members {
            let Some(missed) = member.names.get_mut(name) else {
                continue;
            };
            if *missed > 0 {
                *missed += 1;
                continue;
            }
            let is_own = *id == from;
            let frame = match frames[usize::from(is_own)].take() {
                Some(frame) => frame,
                None => {
                    let told = (told(is_own.then_some(own)),);
                    let made = member.tx.frame_within(&told, usize::MAX);
                    made.map_err(|_| Breach)?
                }
            };
            frames[usize::from(is_own)] = Some(Frame::clone(&frame));
            if let Err(SendError::Full { .. }) = member.tx.try_post(frame) {
                *missed += 1;
                if !member.is_watched {
                    member.is_watched = true;
                    tokio::spawn(watch(*id, member.tx.clone(), self.told.clone()));
                }
            }
        }
        Ok(())
    }

    fn tell_missed(&mut self, member: u64) {
        let Some(member) = self.members.get_mut(&member) else {
            return;
        };
        member.is_watched = false;
        for (name, missed) in &mut member.names {
            let count = std::mem::take(missed);
            if count > 0 {
                let name = name.clone();
                tell(&member.tx, &FromHub::Missed { name, count });
            }
        }
    }

    /// The answer, if there is one already.
    fn request(
        &mut self,
        key: Key,
        name: &str,
        is_shared: bool,
        waits: bool,
    ) -> Result<Option<FromHub>, Breach> {
        let id = key.id;
        let member = self.members.get_mut(&key.member).ok_or(Breach)?;
        if name.len() > MOST_NAME || member.locks >= MOST_PLACES {
            return Err(Breach);
        }
        if !waits && !self.locks.is_available(name, is_shared) {
            return Ok(Some(FromHub::NotAvailable { id }));
        }
        let is_held = self.locks.request(key, name, is_shared).ok_or(Breach)?;
        member.locks += 1;
        Ok(is_held.then_some(FromHub::Done { id }))
    }

    fn grant(&self, granted: &[Key]) {
        for key in granted {
            self.answer(key.member, Some(FromHub::Done { id: key.id }));
        }
    }

    fn answer(&self, member: u64, answer: Option<FromHub>) {
        if let (Some(member), Some(answer)) = (self.members.get(&member), answer) {
            tell(&member.tx, &answer);
        }
    }

    fn asked(&self) -> Vec<Asked> {
        let entries = self.locks.entries();
        let asked = entries.map(|(name, entry)| Asked {
            name: name.to_owned(),
            pid: self.members.get(&entry.key.member).map_or(0, |m| m.pid),
            is_shared: entry.is_shared,
            is_held: entry.is_held,
        });
        asked.collect()
    }
}

/// Answers go whatever waits: each is one for a message of the member's, which is
/// not read while too much waits for it ([`listen`]).
fn tell(tx: &Sender, message: &FromHub) {
    // All of them can be written.
    if let Ok(frame) = tx.frame_within(&(message,), usize::MAX) {
        tx.post_at_once(frame);
    }
}

/// Reads what a member says, as long as it reads what it is told.
async fn listen(member: u64, tx: Sender, mut rx: Receiver, told: mpsc::Sender<Event>) {
    loop {
        tx.room().await;
        let Ok(Some(mut message)) = rx.recv().await else {
            break;
        };
        let Ok((said,)) = message.decode::<(ToHub,)>() else {
            break;
        };
        let event = Event::Said(member, said, message.take_handle());
        if told.send(event).await.is_err() {
            return;
        }
    }
    // The hub may have ended, or removed it.
    let _ = told.send(Event::Gone(member)).await;
}

async fn watch(member: u64, tx: Sender, told: mpsc::Sender<Event>) {
    tx.room().await;
    // The hub may have ended.
    let _ = told.send(Event::Room(member)).await;
}
