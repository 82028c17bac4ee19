//! Calls of both services, over a Unix socket. One connection serves all calls of a client; it is
//! made anew when it broke.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tonic::Status;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;

use crate::messages::{
    DeviceMessage, Empty, MapperRegisterRequest, MapperRegisterResponse, ModelMessage, NameMessage,
    ReportDeviceStatesRequest, ReportDeviceStatusRequest,
};
use crate::{MESSAGE_BYTES_MAX, path};

/// The other side cannot be called.
#[derive(Debug, thiserror::Error)]
#[error("cannot call {}", path.display())]
pub struct DialError {
    /// Its socket.
    pub path: PathBuf,
    #[source]
    source: tonic::transport::Error,
}

#[derive(Clone, Debug)]
struct Caller {
    grpc: Grpc<Channel>,
    /// How many connections were made.
    connections: watch::Receiver<u64>,
}

impl Caller {
    /// Dials with the first call. Calls that take longer than `timeout` fail.
    fn new(socket: &Path, timeout: Duration) -> Result<Self, DialError> {
        let refused = |source| DialError {
            path: socket.to_owned(),
            source,
        };
        // The name is not used: the connector knows where to go.
        let endpoint = Endpoint::try_from("http://localhost").map_err(refused)?;
        let socket = socket.to_owned();
        let (made, connections) = watch::channel(0);
        let made = Arc::new(made);
        let connector = tower::service_fn(move |_: Uri| {
            let (socket, made) = (socket.clone(), Arc::clone(&made));
            async move {
                let stream = UnixStream::connect(socket).await?;
                made.send_modify(|count| *count += 1);
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        let endpoint = endpoint.timeout(timeout).connect_timeout(timeout);
        let channel = endpoint.connect_with_connector_lazy(connector);
        let grpc = Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { grpc, connections })
    }

    async fn call<Asked, Told>(&self, path: &'static str, asked: Asked) -> Result<Told, Status>
    where
        Asked: Message + Send + Sync + 'static,
        Told: Message + Default + Send + Sync + 'static,
    {
        // A clone is a handle to the same connection.
        let mut grpc = self.grpc.clone();
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<Asked, Told>::default();
        let told = grpc.unary(tonic::Request::new(asked), path, codec).await?;
        Ok(told.into_inner())
    }
}

macro_rules! client {
    ($(#[$doc:meta])* $client:ident { $($(#[$about:meta])* $call:ident: $path:ident($asked:ty) -> $told:ty;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $client(Caller);

        impl $client {
            /// A client of the service behind a socket. Nothing is dialled before the first call;
            /// a call that takes longer than `timeout` fails.
            ///
            /// # Errors
            /// [`DialError`] when the socket cannot be named.
            pub fn new(socket: &Path, timeout: Duration) -> Result<Self, DialError> {
                Caller::new(socket, timeout).map(Self)
            }

            /// Counts the connections that were made: a new one may lead to another process than
            /// the one before.
            #[must_use]
            pub fn connections(&self) -> watch::Receiver<u64> {
                self.0.connections.clone()
            }

            $(
                $(#[$about])*
                ///
                /// # Errors
                /// The status that the other side answers; `Unavailable` when it is not there.
                pub async fn $call(&self, asked: $asked) -> Result<$told, Status> {
                    self.0.call(path::$path, asked).await
                }
            )*
        }
    };
}

client! {
    /// What a mapper calls: the node.
    ManagerClient {
        /// Says that the mapper is there, and asks what to serve.
        mapper_register: MAPPER_REGISTER(MapperRegisterRequest) -> MapperRegisterResponse;
        /// Reports values; durable when answered.
        report_device_status: REPORT_DEVICE_STATUS(ReportDeviceStatusRequest) -> Empty;
        /// Reports how a device is; durable when answered.
        report_device_states: REPORT_DEVICE_STATES(ReportDeviceStatesRequest) -> Empty;
    }
}

client! {
    /// What a node calls: a mapper.
    MapperClient {
        /// Gives it a device to serve.
        register_device: REGISTER_DEVICE(DeviceMessage) -> NameMessage;
        /// Takes a device away.
        remove_device: REMOVE_DEVICE(NameMessage) -> Empty;
        /// Tells it that a device changed.
        update_device: UPDATE_DEVICE(DeviceMessage) -> Empty;
        /// Gives it a model.
        create_device_model: CREATE_DEVICE_MODEL(ModelMessage) -> NameMessage;
        /// Takes a model away.
        remove_device_model: REMOVE_DEVICE_MODEL(NameMessage) -> Empty;
        /// Tells it that a model changed.
        update_device_model: UPDATE_DEVICE_MODEL(ModelMessage) -> Empty;
        /// Asks what it knows of a device.
        get_device: GET_DEVICE(NameMessage) -> DeviceMessage;
    }
}
