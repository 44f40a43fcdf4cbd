//! Waking a thread's poll when the next request is due: epoll counts milliseconds, and requests are due every few microseconds.
//!
//! Must not know what is due.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};

pub(super) use imp::Alarm;

/// The longest a poll waits, whatever is due: how soon a thread sees that it is to stop, and what has waited too long.
pub(super) const TICK: Duration = Duration::from_millis(10);

#[cfg(target_os = "linux")]
mod imp {
    use std::os::fd::{AsRawFd, OwnedFd};

    use mio::Interest;
    use mio::unix::SourceFd;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };

    use super::{Duration, Registry, TICK, Token, io};

    /// A timer that the poll waits for as for a socket. Setting it anew forgets that it went off, so nothing reads it.
    #[derive(Debug)]
    pub(in super::super) struct Alarm {
        timer: OwnedFd,
    }

    impl Alarm {
        pub(in super::super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self { timer })
        }

        /// How long the poll may wait so that something happens after this time.
        pub(in super::super) fn set(&mut self, after: Duration) -> io::Result<Duration> {
            if after.is_zero() {
                return Ok(Duration::ZERO);
            }
            if after < TICK {
                let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
                let it_value = Timespec { tv_sec: 0, tv_nsec: after.subsec_nanos().into() };
                let times = Itimerspec { it_interval: nothing, it_value };
                timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times)?;
            }
            Ok(TICK)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::{Duration, Registry, TICK, Token, io};

    /// Elsewhere the poll itself counts finer than milliseconds.
    #[derive(Debug)]
    pub(in super::super) struct Alarm;

    impl Alarm {
        pub(in super::super) fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        /// How long the poll may wait so that something happens after this time.
        pub(in super::super) fn set(&mut self, after: Duration) -> io::Result<Duration> {
            Ok(after.min(TICK))
        }
    }
}
