//! The serial port: a pseudo-terminal under a name that stays.

use super::error::TwinError;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{fcntl_setfl, OFlags};
use rustix::io::Errno;
use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcgetattr, tcsetattr, OptionalActions};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A pseudo-terminal. Whoever has it open loses it when this is dropped, as with a plug.
pub(super) struct Terminal {
    controller: OwnedFd,
    link: PathBuf,
}

impl Terminal {
    /// A pseudo-terminal that is found at `link`.
    pub fn open(link: &Path) -> Result<Self, TwinError> {
        Self::try_open(link).map_err(TwinError::Terminal)
    }

    fn try_open(link: &Path) -> io::Result<Self> {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        fcntl_setfl(&controller, OFlags::NONBLOCK)?;
        let name = ptsname(&controller, Vec::new())?;
        let name = Path::new(OsStr::from_bytes(name.as_bytes()));
        // A serial port is raw from the start: nothing is echoed or translated. Opening it once also
        // makes the first hang-up visible.
        let user = std::fs::File::options().read(true).write(true).open(name)?;
        let mut settings = tcgetattr(&user)?;
        settings.make_raw();
        tcsetattr(&user, OptionalActions::Now, &settings)?;
        drop(user);
        std::os::unix::fs::symlink(name, link)?;
        Ok(Terminal {
            controller,
            link: link.to_owned(),
        })
    }

    /// Waits for bytes, at most so long. Returns whether a program has the port open.
    pub fn wait(&self, time: Duration) -> bool {
        let limit = Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: time.subsec_nanos().into(),
        };
        let mut entry = [PollFd::new(&self.controller, PollFlags::IN)];
        let polled = poll(&mut entry, Some(&limit));
        let open = polled.is_ok() && !entry[0].revents().contains(PollFlags::HUP);
        if !open {
            // A port that nobody has open does not wait by itself.
            std::thread::sleep(time);
        }
        open
    }

    /// Takes at most `room` bytes that a program has written.
    pub fn read(&self, room: usize) -> Vec<u8> {
        let mut bytes = vec![0; room];
        let count = rustix::io::read(&self.controller, &mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }

    /// Hands as many of these bytes to a program as there is room for, and returns how many.
    pub fn write(&self, bytes: &[u8]) -> usize {
        match rustix::io::write(&self.controller, bytes) {
            Ok(count) => count,
            // Full; or nobody is there any more, and the bytes are lost as they would be.
            Err(Errno::AGAIN) => 0,
            Err(_) => bytes.len(),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The folder around it goes with the twin.
        let _ = std::fs::remove_file(&self.link);
    }
}
