//! A runtime in memory that counts what it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use causeway_edged::runtime::{
    Answer, Container, ContainerConfig, ContainerId, ContainerState, ExecOutcome, Exit, Runtime,
    RuntimeInfo, Sandbox, SandboxConfig, SandboxId, Whose,
};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

#[derive(Default)]
pub(crate) struct MemoryRuntime {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    /// Sandboxes and containers handed out in lists.
    listed: AtomicU64,
}

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<SandboxId, Sandbox>,
    containers: BTreeMap<ContainerId, Container>,
    changed: BTreeSet<String>,
}

impl MemoryRuntime {
    /// How many sandboxes and containers were looked at so far.
    pub(crate) fn listed(&self) -> u64 {
        self.listed.load(Ordering::Relaxed)
    }

    /// Ends a running container of a pod, as if by itself.
    pub(crate) fn end(&self, pod: &str) {
        let mut state = self.state.lock();
        let of_pod = state.containers.values_mut();
        let runs = |one: &&mut Container| {
            one.pod == pod && matches!(one.state, ContainerState::Running { .. })
        };
        of_pod.filter(runs).for_each(|one| one.state = exited(1));
        state.changed.insert(pod.to_owned());
        drop(state);
        self.changes.send_modify(|count| *count += 1);
    }

    fn counted<T>(&self, found: Vec<T>) -> Vec<T> {
        let count = u64::try_from(found.len()).unwrap();
        self.listed.fetch_add(count, Ordering::Relaxed);
        found
    }
}

fn exited(code: i32) -> ContainerState {
    ContainerState::Exited(Exit {
        code,
        signal: None,
        reason: "Error".to_owned(),
        message: String::new(),
        started: None,
        finished: Timestamp::now(),
        ran: Some(Duration::ZERO),
    })
}

fn is_of(whose: Whose<'_>, pod: &str) -> bool {
    match whose {
        Whose::All => true,
        Whose::Pod(uid) => uid == pod,
    }
}

impl Runtime for MemoryRuntime {
    fn info(&self) -> RuntimeInfo {
        RuntimeInfo {
            name: "memory",
            version: "1".to_owned(),
            development_only: true,
        }
    }

    fn run_sandbox<'a>(&'a self, config: &'a SandboxConfig) -> Answer<'a, SandboxId> {
        let id = SandboxId(config.uid.clone());
        let sandbox = Sandbox {
            id: id.clone(),
            config: config.clone(),
            ready: true,
            created: Timestamp::now(),
        };
        self.state.lock().sandboxes.insert(id.clone(), sandbox);
        async { Ok(id) }.boxed()
    }

    fn stop_sandbox<'a>(&'a self, _: &'a SandboxId) -> Answer<'a, ()> {
        async { Ok(()) }.boxed()
    }

    fn remove_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, ()> {
        let mut state = self.state.lock();
        state.sandboxes.remove(id);
        state.containers.retain(|_, one| one.pod != id.0);
        async { Ok(()) }.boxed()
    }

    fn create_container<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        config: &'a ContainerConfig,
    ) -> Answer<'a, ContainerId> {
        let id = ContainerId(format!("{}/{}.{}", sandbox.0, config.name, config.attempt));
        let container = Container {
            id: id.clone(),
            pod: sandbox.0.clone(),
            name: config.name.clone(),
            attempt: config.attempt,
            spec_hash: config.spec_hash,
            image: config.image.clone(),
            state: ContainerState::Created,
        };
        let containers = &mut self.state.lock().containers;
        containers.entry(id.clone()).or_insert(container);
        async { Ok(id) }.boxed()
    }

    fn start_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()> {
        let mut state = self.state.lock();
        let container = state.containers.get_mut(id).unwrap();
        if container.state == ContainerState::Created {
            let started = Timestamp::now();
            container.state = ContainerState::Running { started };
        }
        async { Ok(()) }.boxed()
    }

    fn stop_container<'a>(&'a self, id: &'a ContainerId, _: Duration) -> Answer<'a, ()> {
        if let Some(container) = self.state.lock().containers.get_mut(id) {
            container.state = exited(143);
        }
        async { Ok(()) }.boxed()
    }

    fn remove_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()> {
        self.state.lock().containers.remove(id);
        async { Ok(()) }.boxed()
    }

    fn list_sandboxes<'a>(&'a self, whose: Whose<'a>) -> Answer<'a, Vec<Sandbox>> {
        let state = self.state.lock();
        let found = state.sandboxes.values();
        let found = found.filter(|one| is_of(whose, &one.config.uid)).cloned();
        let found = self.counted(found.collect());
        async { Ok(found) }.boxed()
    }

    fn list_containers<'a>(&'a self, whose: Whose<'a>) -> Answer<'a, Vec<Container>> {
        let state = self.state.lock();
        let found = state.containers.values();
        let found = found.filter(|one| is_of(whose, &one.pod)).cloned();
        let found = self.counted(found.collect());
        async { Ok(found) }.boxed()
    }

    fn image_status<'a>(&'a self, image: &'a str) -> Answer<'a, Option<String>> {
        async { Ok(Some(image.to_owned())) }.boxed()
    }

    fn pull_image<'a>(&'a self, image: &'a str) -> Answer<'a, String> {
        async { Ok(image.to_owned()) }.boxed()
    }

    fn exec<'a>(
        &'a self,
        _: &'a ContainerId,
        _: &'a [String],
        _: Duration,
    ) -> Answer<'a, ExecOutcome> {
        let (code, output) = (Some(0), String::new());
        async move { Ok(ExecOutcome { code, output }) }.boxed()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn take_changed(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.state.lock().changed)
    }
}
