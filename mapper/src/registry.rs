//! The devices of a mapper: one owner, and the service through which the node speaks to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_dmi::messages::{Device, DeviceMessage, DeviceModel, ModelMessage, NameMessage};
use causeway_dmi::{DeviceMapper, Status};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::device::{self, Shared};
use crate::spec::DeviceSpec;
use crate::{DEVICES_MAX, Protocol};

/// Namespace and name.
type Name = (String, String);

/// What is asked of the owner of the devices.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve a device, as it is described here.
    Serve(Device, oneshot::Sender<Result<(), Status>>),
    /// Serve it no more.
    Remove(Name),
    /// Know a model, as it is described here.
    Model(DeviceModel),
    /// Forget a model.
    RemoveModel(Name),
    /// What is known of a device.
    Get(Name, oneshot::Sender<Option<Device>>),
    /// Serve these and no others.
    All(Vec<Device>, Vec<DeviceModel>),
}

/// The owner of the devices.
pub(crate) struct Registry<P> {
    shared: Arc<Shared<P>>,
    devices: BTreeMap<Name, Served>,
    models: BTreeMap<Name, DeviceModel>,
    tasks: JoinSet<()>,
}

/// A device that is served. Dropping it ends its task.
struct Served {
    device: Device,
    spec: watch::Sender<DeviceSpec>,
}

impl<P: Protocol> Registry<P> {
    pub(crate) fn new(shared: Arc<Shared<P>>) -> Self {
        Self {
            shared,
            devices: BTreeMap::new(),
            models: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Obeys until nobody can ask any more.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "the task of a device panicked");
                    }
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Serve(device, answer) => {
                // Who asked may have gone; the device is served all the same.
                let _ = answer.send(self.serve(device));
            }
            Command::Remove(name) => {
                self.devices.remove(&name);
            }
            Command::Model(model) => self.model(model),
            Command::RemoveModel(name) => {
                self.models.remove(&name);
            }
            Command::Get(name, answer) => {
                let known = self.devices.get(&name).map(|it| it.device.clone());
                let _ = answer.send(known);
            }
            Command::All(devices, models) => {
                let listed: Vec<Name> = devices.iter().map(name_of).collect();
                self.devices.retain(|name, _| listed.contains(name));
                self.models.clear();
                models.into_iter().for_each(|model| self.model(model));
                for device in devices {
                    if let Err(status) = self.serve(device) {
                        tracing::warn!(%status, "a device of the node cannot be served");
                    }
                }
            }
        }
    }

    fn serve(&mut self, device: Device) -> Result<(), Status> {
        if device.name.is_empty() {
            return Err(Status::invalid_argument("the device has no name"));
        }
        let spec = DeviceSpec::of(&device, self.model_of(&device));
        let name = name_of(&device);
        if let Some(served) = self.devices.get_mut(&name) {
            served.device = device;
            served.spec.send_if_modified(|known| {
                let is_new = *known != spec;
                *known = spec;
                is_new
            });
            return Ok(());
        }
        if self.devices.len() >= DEVICES_MAX {
            let what = format!("a mapper serves at most {DEVICES_MAX} devices");
            return Err(Status::resource_exhausted(what));
        }
        let (sender, specs) = watch::channel(spec);
        let task = device::serve(Arc::clone(&self.shared), specs);
        self.tasks.spawn(task);
        let served = Served {
            device,
            spec: sender,
        };
        self.devices.insert(name, served);
        Ok(())
    }

    fn model(&mut self, model: DeviceModel) {
        let name = (model.namespace.clone(), model.name.clone());
        self.models.insert(name.clone(), model);
        let concerned: Vec<Device> = self
            .devices
            .values()
            .filter(|it| model_name(&it.device) == name)
            .map(|it| it.device.clone())
            .collect();
        for device in concerned {
            // A device that is served already is only told.
            let _ = self.serve(device);
        }
    }

    fn model_of(&self, device: &Device) -> Option<&DeviceModel> {
        self.models.get(&model_name(device))
    }
}

fn name_of(device: &Device) -> Name {
    (device.namespace.clone(), device.name.clone())
}

fn model_name(device: &Device) -> Name {
    let spec = device.spec.as_ref();
    let model = spec.map(|spec| spec.device_model_reference.clone());
    (device.namespace.clone(), model.unwrap_or_default())
}

/// The mapper's side of DMI.
#[derive(Clone, Debug)]
pub(crate) struct Desk(pub(crate) mpsc::Sender<Command>);

impl Desk {
    pub(crate) async fn tell(&self, command: Command) -> Result<(), Status> {
        let told = self.0.send(command).await;
        told.map_err(|_| stopping())
    }

    async fn serve(&self, message: DeviceMessage) -> Result<NameMessage, Status> {
        let device = message
            .device
            .ok_or_else(|| Status::invalid_argument("there is no device in the request"))?;
        let (name, namespace) = (device.name.clone(), device.namespace.clone());
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Serve(device, answer)).await?;
        answered.await.map_err(|_| stopping())??;
        Ok(NameMessage { name, namespace })
    }

    async fn model(&self, message: ModelMessage) -> Result<NameMessage, Status> {
        let model = message
            .model
            .ok_or_else(|| Status::invalid_argument("there is no model in the request"))?;
        let (name, namespace) = (model.name.clone(), model.namespace.clone());
        self.tell(Command::Model(model)).await?;
        Ok(NameMessage { name, namespace })
    }
}

fn stopping() -> Status {
    Status::unavailable("the mapper is stopping")
}

impl DeviceMapper for Desk {
    async fn register_device(&self, request: DeviceMessage) -> Result<NameMessage, Status> {
        self.serve(request).await
    }

    async fn remove_device(&self, request: NameMessage) -> Result<(), Status> {
        let name = (request.namespace, request.name);
        self.tell(Command::Remove(name)).await
    }

    async fn update_device(&self, request: DeviceMessage) -> Result<(), Status> {
        self.serve(request).await.map(|_| ())
    }

    async fn create_device_model(&self, request: ModelMessage) -> Result<NameMessage, Status> {
        self.model(request).await
    }

    async fn remove_device_model(&self, request: NameMessage) -> Result<(), Status> {
        let name = (request.namespace, request.name);
        self.tell(Command::RemoveModel(name)).await
    }

    async fn update_device_model(&self, request: ModelMessage) -> Result<(), Status> {
        self.model(request).await.map(|_| ())
    }

    async fn get_device(&self, request: NameMessage) -> Result<DeviceMessage, Status> {
        let (answer, answered) = oneshot::channel();
        let name = (request.namespace, request.name);
        self.tell(Command::Get(name, answer)).await?;
        let device = answered.await.map_err(|_| stopping())?;
        let device = device.ok_or_else(|| Status::not_found("no such device is served here"))?;
        Ok(DeviceMessage {
            device: Some(device),
        })
    }
}
