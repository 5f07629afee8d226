//! What a child may use.

use procession_sys::Resource;

use super::{Command, Tree};

impl Command {
    /// Sets a soft and a hard resource limit.
    pub fn limit(&mut self, resource: Resource, soft: u64, hard: u64) -> &mut Self {
        self.limits.push((resource, soft, hard));
        self
    }

    /// Limits the memory of the child and of all that descends from it, in bytes
    /// and together. Above it the kernel kills them all, and
    /// [`Outcome::out_of_memory`](super::Outcome::out_of_memory) says so. They
    /// are held by a control group: this sets [`Tree::Contain`].
    ///
    /// Where no group can have the memory controller, the start fails and says
    /// why: nothing runs without its limit. The group is made below our own or,
    /// where the one above was left to us (systemd's `Delegate=` with
    /// `DelegateSubgroup=`, or a container's), beside it.
    ///
    /// # Platform
    ///
    /// Linux, control groups of version 2; elsewhere the spawn fails with `ENOTSUP`.
    ///
    /// # Node
    ///
    /// None; a worker's `resourceLimits` are of V8's heap.
    pub fn memory_max(&mut self, bytes: u64) -> &mut Self {
        self.memory_max = Some(bytes);
        self.tree(Tree::Contain)
    }

    /// Adds to our nice value for the child: a positive number leaves the
    /// processor to others. The system keeps the sum within its range, -20 to 19
    /// on Linux. The last call counts.
    ///
    /// A negative number needs the right to: without it the start fails at
    /// `setpriority`, with `EACCES` on Linux.
    ///
    /// # Node
    ///
    /// None at the start: `os.setPriority(pid)` afterwards. piscina's `niceIncrement`.
    pub fn nice(&mut self, increment: i32) -> &mut Self {
        self.nice = increment;
        self
    }
}
