//! One call to a mapper, and what its outcome means.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use causeway_dmi::messages::{DeviceMessage, ModelMessage, NameMessage};
use causeway_dmi::{Code, MapperClient, Status, convert};
use causeway_projections::twin::DeviceName;
use tokio::net::UnixStream;

use super::desk::{Call, Described, Outcome, Refusal};

/// How long a mapper may take; as KubeEdge has it.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How a call went, and why in words when it went wrong.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) outcome: Outcome,
    pub(super) why: Option<String>,
}

impl Called {
    const fn well() -> Self {
        Self {
            outcome: Outcome::Done,
            why: None,
        }
    }
}

impl fmt::Display for Call {
    /// The call by its name on the wire, and what it is about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = |model: &serde_json::Value| {
            let metadata = &model["metadata"];
            let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text("namespace"), text("name"))
        };
        match self {
            Self::CreateModel(it) => write!(f, "CreateDeviceModel {}", model(it)),
            Self::UpdateModel(it) => write!(f, "UpdateDeviceModel {}", model(it)),
            Self::RemoveModel(name) => write!(f, "RemoveDeviceModel {name}"),
            Self::Register(it) => write!(f, "RegisterDevice {}", it.name()),
            Self::Update(it) => write!(f, "UpdateDevice {}", it.name()),
            Self::Remove(name) => write!(f, "RemoveDevice {name}"),
            Self::Ask(Some(name)) => write!(f, "GetDevice {name}"),
            Self::Ask(None) => f.write_str("connect"),
        }
    }
}

/// Makes a call. Takes at most [`CALL_TIMEOUT`], and a moment.
pub(super) async fn call(client: &MapperClient, address: &Path, call: &Call) -> Called {
    if matches!(call, Call::Ask(None)) {
        return match is_there(address).await {
            true => Called::well(),
            false => Called {
                outcome: Outcome::Absent,
                why: Some("nobody listens at its address".to_owned()),
            },
        };
    }
    match tokio::time::timeout(CALL_TIMEOUT, make(client, call)).await {
        Ok(Ok(())) => Called::well(),
        Ok(Err(status)) => Called {
            outcome: judge(status.code(), address).await,
            why: Some(format!("{:?}: {}", status.code(), status.message())),
        },
        Err(_) => Called {
            outcome: Outcome::Silent,
            why: Some(format!("no answer within {CALL_TIMEOUT:?}")),
        },
    }
}

async fn make(client: &MapperClient, call: &Call) -> Result<(), Status> {
    match call {
        Call::CreateModel(it) => client.create_device_model(model(it)).await.map(drop),
        Call::UpdateModel(it) => client.update_device_model(model(it)).await.map(drop),
        Call::RemoveModel(it) => client.remove_device_model(name(it)).await.map(drop),
        Call::Register(it) => client.register_device(device(it)?).await.map(drop),
        Call::Update(it) => client.update_device(device(it)?).await.map(drop),
        Call::Remove(it) => client.remove_device(name(it)).await.map(drop),
        Call::Ask(Some(it)) => client.get_device(name(it)).await.map(drop),
        Call::Ask(None) => Ok(()),
    }
}

fn model(model: &serde_json::Value) -> ModelMessage {
    ModelMessage {
        model: Some(convert::model(model)),
    }
}

fn device(described: &Described) -> Result<DeviceMessage, Status> {
    let device = described.message();
    let device = device.map_err(|error| Status::internal(error.to_string()))?;
    Ok(DeviceMessage {
        device: Some(device),
    })
}

fn name(name: &DeviceName) -> NameMessage {
    NameMessage {
        name: name.name.to_string(),
        namespace: name.namespace.to_string(),
    }
}

/// What an answer means. Mappers in Go and Python answer most errors with `Unknown`.
async fn judge(code: Code, address: &Path) -> Outcome {
    match code {
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => {
            if is_there(address).await {
                Outcome::Silent
            } else {
                Outcome::Absent
            }
        }
        Code::AlreadyExists => Outcome::Refused(Refusal::Exists),
        Code::NotFound => Outcome::Refused(Refusal::Missing),
        Code::Unimplemented => Outcome::Refused(Refusal::Unimplemented),
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => Outcome::Refused(Refusal::Other),
    }
}

/// Whether somebody listens at an address. A doubt counts as yes.
pub(super) async fn is_there(address: &Path) -> bool {
    let dialed = tokio::time::timeout(Duration::from_secs(1), UnixStream::connect(address)).await;
    match dialed {
        Ok(Ok(_)) | Err(_) => true,
        Ok(Err(error)) => !matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::ConnectionRefused
        ),
    }
}
