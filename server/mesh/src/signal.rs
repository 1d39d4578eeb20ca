//! The signal that a parked owner waits for: an eventfd, or loom's condition variable.

#[cfg(not(loom))]
pub(crate) use eventfd::Signal;
#[cfg(loom)]
pub(crate) use modelled::Signal;

#[cfg(not(loom))]
mod eventfd {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    use rustix::event::EventfdFlags;

    pub(crate) struct Signal(OwnedFd);

    impl Signal {
        pub(crate) fn new() -> io::Result<Signal> {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            Ok(Signal(rustix::event::eventfd(0, flags)?))
        }

        pub(crate) fn raise(&self) {
            // Fails only when the counter is full; it is readable then.
            let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
        }

        pub(crate) fn clear(&self) {
            // Fails only when there is nothing to clear.
            let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
        }
    }

    impl AsFd for Signal {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(loom)]
mod modelled {
    use std::io;

    use loom::sync::{Condvar, Mutex};

    pub(crate) struct Signal {
        is_raised: Mutex<bool>,
        raised: Condvar,
    }

    impl Signal {
        pub(crate) fn new() -> io::Result<Signal> {
            Ok(Signal { is_raised: Mutex::new(false), raised: Condvar::new() })
        }

        pub(crate) fn raise(&self) {
            *self.is_raised.lock().expect("no model thread panics") = true;
            self.raised.notify_one();
        }

        pub(crate) fn clear(&self) {
            *self.is_raised.lock().expect("no model thread panics") = false;
        }

        pub(crate) fn is_raised(&self) -> bool {
            *self.is_raised.lock().expect("no model thread panics")
        }

        pub(crate) fn wait(&self) {
            let mut is_raised = self.is_raised.lock().expect("no model thread panics");
            while !*is_raised {
                is_raised = self.raised.wait(is_raised).expect("no model thread panics");
            }
        }
    }
}
