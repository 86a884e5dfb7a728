//! Lines for the terminal. A thread writes them, so that a full pipe never holds up a request.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

pub struct Printer {
    lines: SyncSender<String>,
}

/// Lives until the last line is written.
pub struct Printed(Receiver<()>);

impl Printer {
    pub fn new() -> (Self, Printed) {
        let (lines, queue) = sync_channel(10_000);
        let (done, printed) = channel();
        thread::spawn(move || print(queue, done));
        (Self { lines }, Printed(printed))
    }

    /// A line is dropped when nobody has read the last ten thousand.
    pub fn line(&self, line: String) {
        let _ = self.lines.try_send(line);
    }
}

impl Printed {
    /// Call after the printer is dropped; gives up on a reader that doesn't read.
    pub fn wait(self) {
        let _ = self.0.recv_timeout(Duration::from_secs(1));
    }
}

fn print(queue: Receiver<String>, _done: Sender<()>) {
    while let Ok(line) = queue.recv() {
        // A closed terminal is no reason to stop serving.
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}
