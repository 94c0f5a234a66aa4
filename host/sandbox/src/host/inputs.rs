//! `inputs`: byte streams that the operator lends by name.
//!
//! Invariant: whatever can block runs on a thread of its own and is waited for no longer than the call has left. A read that
//! does not come back costs that thread, never the caller's, and such threads are counted.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::Resource;

use crate::bindings::shared::failures::Failure;
use crate::bindings::shared::inputs::{Host, HostInput as HostInputCalls};
use crate::call::quoted;
use crate::grants::{Input, InputError};
use crate::limiter::{LimitHit, Limiter};

use super::HostState;

/// An open input in the resource table.
pub struct HostInput {
    input: Arc<Mutex<Box<dyn Input>>>,
    _open: OpenInput,
}

/// Counts the inputs of an instance that are open: one share each.
pub(crate) type OpenInput = Arc<()>;

type Task = Box<dyn FnOnce() + Send>;

/// The thread that the blocking calls of one instance run on; started at the first.
#[derive(Default)]
pub(crate) struct BlockingThread {
    tasks: Option<SyncSender<Task>>,
}

impl BlockingThread {
    fn submit(&mut self, task: Task, limiter: &Limiter) -> wasmtime::Result<()> {
        let tasks = match self.tasks.take() {
            Some(tasks) => tasks,
            None => {
                let (send, receive): (SyncSender<Task>, Receiver<Task>) = sync_channel(1);
                let waiting = limiter.waiting()?;
                let serve = move || {
                    receive.iter().for_each(|task| task());
                    drop(waiting);
                };
                std::thread::Builder::new().name("plugin-blocking".into()).spawn(serve)?;
                send
            }
        };
        if tasks.send(task).is_ok() {
            self.tasks = Some(tasks);
        }
        Ok(())
    }
}

impl HostState {
    /// Runs `work` on the blocking thread; ends the guest's call when it takes longer than the call has. `None` when it panicked.
    pub(crate) fn waited_for<T: Send + 'static>(&mut self, work: impl FnOnce() -> T + Send + 'static) -> wasmtime::Result<Option<T>> {
        let left = self.time_left()?;
        let (send, receive) = sync_channel(1);
        let task: Task = Box::new(move || {
            // The receiver is gone when the call ran out of time; the result is then nobody's.
            let _ = send.send(work());
        });
        self.blocking.submit(task, &self.limiter)?;
        match receive.recv_timeout(left) {
            Ok(result) => Ok(Some(result)),
            Err(RecvTimeoutError::Timeout) => {
                self.blocking = BlockingThread::default();
                Err(self.out_of_time().into())
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.blocking = BlockingThread::default();
                Ok(None)
            }
        }
    }

    /// Reads an input, in the time that the call has.
    fn bounded<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> Result<T, InputError> + Send + 'static,
    ) -> wasmtime::Result<Result<T, Failure>> {
        // A read that panicked: the input is at fault, and the plugin is told so.
        let broken = || Err(InputError { message: "the input broke while it was read".into(), retryable: false });
        let result = self.waited_for(work)?.unwrap_or_else(broken);
        Ok(result.map_err(|error| self.input_failure(&error)))
    }

    fn input_failure(&self, error: &InputError) -> Failure {
        let message = quoted(&error.message, self.limits.metadata_bytes_max);
        Failure { code: INPUT_FAILED, message, retryable: error.retryable, retry_after_ms: None }
    }

    /// An open input, for one call of it.
    fn counted(&mut self, input: &Resource<HostInput>) -> wasmtime::Result<Arc<Mutex<Box<dyn Input>>>> {
        self.count_call()?;
        Ok(Arc::clone(&self.table.get(input)?.input))
    }

    fn inputs_open(&self) -> u32 {
        u32::try_from(Arc::strong_count(&self.open_inputs) - 1).unwrap_or(u32::MAX)
    }

    fn check_input(&mut self, name: &str) -> Result<(), Failure> {
        if self.grants.allows_input(name) {
            return Ok(());
        }
        let name = quoted(name, self.limits.metadata_bytes_max);
        let line = self.grants.input_line(&self.plugin, &name);
        Err(self.deny(&format!("the input `{name}`"), line))
    }
}

/// The code of a failure of the input itself.
const INPUT_FAILED: u16 = 10;

impl Host for HostState {
    fn entries(&mut self, name: String) -> wasmtime::Result<Result<Vec<String>, Failure>> {
        self.count_call()?;
        if let Err(denied) = self.check_input(&name) {
            return Ok(Err(denied));
        }
        let inputs = Arc::clone(&self.inputs);
        self.bounded(move || inputs.entries(&name))
    }

    fn open(&mut self, entry: String) -> wasmtime::Result<Result<Resource<HostInput>, Failure>> {
        self.count_call()?;
        if let Err(denied) = self.check_input(&entry) {
            return Ok(Err(denied));
        }
        let most = self.limits.open_inputs_max;
        if self.inputs_open() >= most {
            return Err(LimitHit { limit: "open_inputs_max", at: format!("it held {most} inputs open at once") }.into());
        }
        let inputs = Arc::clone(&self.inputs);
        match self.bounded(move || inputs.open(&entry))? {
            Ok(input) => {
                let input = HostInput { input: Arc::new(Mutex::new(input)), _open: Arc::clone(&self.open_inputs) };
                Ok(Ok(self.table.push(input)?))
            }
            Err(failure) => Ok(Err(failure)),
        }
    }
}

impl HostInputCalls for HostState {
    fn byte_count(&mut self, input: Resource<HostInput>) -> wasmtime::Result<Result<u64, Failure>> {
        let input = self.counted(&input)?;
        self.bounded(move || input.lock().unwrap_or_else(PoisonError::into_inner).byte_count())
    }

    fn generation(&mut self, input: Resource<HostInput>) -> wasmtime::Result<Result<String, Failure>> {
        let input = self.counted(&input)?;
        self.bounded(move || input.lock().unwrap_or_else(PoisonError::into_inner).generation())
    }

    fn read(&mut self, input: Resource<HostInput>, offset: u64, count: u32) -> wasmtime::Result<Result<Vec<u8>, Failure>> {
        // The guest chooses `count`; the host must not allocate more for it than it would take from it.
        let most = self.limits.host_call_bytes_max;
        if u64::from(count) > most {
            let hit = LimitHit {
                limit: "host_call_bytes_max",
                at: format!("it asked for {count} bytes of an input at once, the limit is {most}"),
            };
            return Err(hit.into());
        }
        let input = self.counted(&input)?;
        self.bounded(move || {
            let mut bytes = input.lock().unwrap_or_else(PoisonError::into_inner).read(offset, count)?;
            bytes.truncate(count as usize);
            Ok(bytes)
        })
    }

    fn drop(&mut self, input: Resource<HostInput>) -> wasmtime::Result<()> {
        self.table.delete(input)?;
        Ok(())
    }
}
