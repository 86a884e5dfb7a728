//! What this process has: its handles, its client if one runs, and what a forked child starts from.

use crate::client::Client;
use crate::client::handles::Handles;
use crate::common::error::{Code, Error, Result};
use crate::common::log::{self, Level};
use crate::common::os::{self, PerProcess};
use crate::completion::queue::{FrameKind, Queue, TOPIC_LOG, TOPIC_METERING};
use crate::delivery;
use crate::provider;
use crate::settings::{Settings, environment, look_again};
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

static PROCESS: PerProcess<Process> = PerProcess::empty();

/// This process's state. A forked child gets one of its own, running with the parent's settings.
pub fn process() -> &'static Process {
    PROCESS.get(|parent| Process::new(parent.and_then(Process::inherited)))
}

pub struct Process {
    pub handles: Handles,
    phase: RwLock<Phase>,
    inheritance: Inheritance,
    subscribers: Mutex<Vec<Weak<Queue>>>,
    /// Shut down, and every call has reported. Queues look at it.
    over: Arc<AtomicBool>,
}

enum Phase {
    /// Nobody called yet.
    NotStarted,
    Running(Arc<Client>),
    Closed,
}

/// The settings that a forked child starts from; `None`: not running. A thread that was writing them when the process
/// forked never lets go of its lock in the child, so there are two places, and the one that counts is never written.
#[derive(Default)]
struct Inheritance {
    places: [RwLock<Option<Arc<Settings>>>; 2],
    /// The place that counts.
    current: AtomicUsize,
}

impl Inheritance {
    /// By one thread at a time.
    fn set(&self, settings: Option<Arc<Settings>>) {
        let next = 1 - self.current.load(Ordering::SeqCst);
        *self.places[next].write() = settings;
        self.current.store(next, Ordering::SeqCst);
    }

    fn get(&self) -> Option<Arc<Settings>> {
        self.places[self.current.load(Ordering::SeqCst)].try_read()?.clone()
    }
}

impl Process {
    fn new(inherited: Option<Arc<Settings>>) -> Process {
        let client = inherited.as_ref().and_then(|settings| Client::new(settings.clone()).ok());
        let inheritance = Inheritance::default();
        inheritance.set(inherited);
        Process {
            handles: Handles::default(),
            phase: RwLock::new(client.map_or(Phase::NotStarted, |client| {
                client.inits.store(1, Ordering::SeqCst);
                Phase::Running(client)
            })),
            inheritance,
            subscribers: Mutex::default(),
            over: Arc::default(),
        }
    }

    fn inherited(&self) -> Option<Arc<Settings>> {
        self.inheritance.get()
    }

    /// The client, started from the environment if nobody did so before.
    pub fn client(&self) -> Result<Arc<Client>> {
        match &*self.phase.read() {
            Phase::Running(client) => return Ok(client.clone()),
            Phase::Closed => return Err(closed()),
            Phase::NotStarted => {}
        }
        self.start(None, false)
    }

    /// The client, if it runs.
    pub fn running(&self) -> Option<Arc<Client>> {
        match &*self.phase.read() {
            Phase::Running(client) => Some(client.clone()),
            _ => None,
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(*self.phase.read(), Phase::Closed)
    }

    pub fn check_open(&self) -> Result<()> {
        if self.is_closed() { Err(closed()) } else { Ok(()) }
    }

    pub fn new_queue(&self) -> Queue {
        Queue::new(self.over.clone())
    }

    /// revenium_init().
    pub fn init(&self, config: Option<&str>) -> Result<()> {
        self.start(config, true).map(drop)
    }

    fn start(&self, config: Option<&str>, counted: bool) -> Result<Arc<Client>> {
        loop {
            // `None`: the client to join was shut down meanwhile.
            if let Some(client) = self.try_start(config, counted)? {
                return Ok(client);
            }
        }
    }

    fn try_start(&self, config: Option<&str>, counted: bool) -> Result<Option<Arc<Client>>> {
        if config.is_none()
            && let Some(client) = self.running()
        {
            return Ok(self.join(client, counted));
        }
        // Built before the lock is taken: what is logged meanwhile may make the host call us.
        look_again();
        provider::look_again();
        let (settings, warnings) = Settings::load(config, &environment)?;
        if let Some(client) = self.running()
            && !(counted && self.retire(&client))
        {
            return self.join_with(client, &settings, counted);
        }
        log::set_level(settings.log_level);
        for warning in warnings {
            log::warn!("{warning}");
        }
        let client = Client::new(Arc::new(settings))?;
        client.inits.store(u32::from(counted), Ordering::SeqCst);
        let other = {
            let mut phase = self.phase.write();
            match &*phase {
                Phase::Running(other) => other.clone(),
                Phase::Closed if !counted => return Err(closed()),
                _ => {
                    *phase = Phase::Running(client.clone());
                    self.over.store(false, Ordering::Release);
                    self.inheritance.set(Some(client.context.settings.clone()));
                    return Ok(Some(client));
                }
            }
        };
        self.join_with(other, &client.context.settings, counted)
    }

    /// An client that only a flush has started makes way: nobody has chosen its settings. False: it is in use.
    fn retire(&self, client: &Arc<Client>) -> bool {
        {
            let mut phase = self.phase.write();
            match &*phase {
                Phase::Running(running) if Arc::ptr_eq(running, client) && !client.is_used() => {}
                _ => return false,
            }
            *phase = Phase::NotStarted;
            self.inheritance.set(None);
        }
        // What it could not send in time lies in the spool, or waits there for its successor.
        let _ = client.close(Instant::now(), true);
        true
    }

    fn join_with(&self, running: Arc<Client>, settings: &Settings, counted: bool) -> Result<Option<Arc<Client>>> {
        let same = *settings == *running.context.settings;
        match self.join(running, counted && same) {
            Some(_) if !same => Err(Error::new(Code::Already, "The library runs already, with other settings.")),
            joined => Ok(joined),
        }
    }

    /// Under the lock that shutdown takes to count down: what was joined is not closed before its own shutdown.
    fn join(&self, running: Arc<Client>, counted: bool) -> Option<Arc<Client>> {
        let phase = self.phase.read();
        if !matches!(&*phase, Phase::Running(now) if Arc::ptr_eq(now, &running)) {
            return None;
        }
        if counted {
            running.inits.fetch_add(1, Ordering::SeqCst);
        }
        Some(running)
    }

    /// revenium_shutdown(): the last one ends everything before `deadline`.
    pub fn shutdown(&self, deadline: Instant) -> Result<()> {
        let client = {
            let mut phase = self.phase.write();
            let Phase::Running(client) = &*phase else { return Err(closed()) };
            if client.inits.load(Ordering::SeqCst) > 1 {
                client.inits.fetch_sub(1, Ordering::SeqCst);
                return Ok(());
            }
            let client = client.clone();
            *phase = Phase::Closed;
            self.inheritance.set(None);
            client
        };
        let ended = client.close(deadline, false);
        {
            // Unless another thread has started the library afresh.
            let phase = self.phase.write();
            self.over.store(matches!(*phase, Phase::Closed), Ordering::Release);
        }
        for queue in self.handles.queues() {
            queue.nudge();
        }
        ended
    }

    /// Also send log lines up to `level`, and reports of failed deliveries, to `queue`.
    pub fn subscribe(&self, queue: &Arc<Queue>, topics: u32, level: Option<Level>) {
        queue.subscribe(topics);
        let listener: Arc<dyn log::Subscriber> = queue.clone();
        log::subscribe(&listener, level.filter(|_| topics & TOPIC_LOG != 0));
        let mut subscribers = self.subscribers.lock();
        subscribers.retain(|weak| weak.strong_count() > 0 && !std::ptr::eq(weak.as_ptr(), Arc::as_ptr(queue)));
        if topics & TOPIC_METERING != 0 {
            subscribers.push(Arc::downgrade(queue));
        }
    }

    pub fn tell_subscribers(&self, report: &delivery::Report) {
        let queues: Vec<_> = self.subscribers.lock().iter().filter_map(Weak::upgrade).collect();
        for queue in queues {
            queue.push_notice(FrameKind::Metering, report.http_status.unwrap_or(0).into(), &report.to_json());
        }
    }
}

pub fn closed() -> Error {
    Error::new(Code::Closed, "The library was shut down; revenium_init() starts it again.")
}

/// exit(3) and a return from main flush for `flush_at_exit_ms`, once per process image.
pub fn flush_at_exit() {
    static HOOKED: AtomicBool = AtomicBool::new(false);
    if !HOOKED.swap(true, Ordering::SeqCst) {
        os::at_exit(at_exit);
    }
}

extern "C" fn at_exit() {
    // A forked child that never called us has no state of its own, and nothing to flush.
    let Some(client) = PROCESS.peek().and_then(Process::running) else { return };
    client.callback_pool.mute();
    let allowed = Duration::from_millis(client.context.settings.flush_at_exit_ms);
    let closed =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.close(Instant::now() + allowed, true)));
    drop(closed);
}
