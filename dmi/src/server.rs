//! Both services, as traits to implement and functions that serve them.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::{Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::door::Door;
use crate::messages::{
    DeviceMessage, Empty, MapperRegisterRequest, MapperRegisterResponse, ModelMessage, NameMessage,
    ReportDeviceStatesRequest, ReportDeviceStatusRequest,
};
use crate::{CALLS_MAX, MESSAGE_BYTES_MAX, path};

/// What a call answers.
type Answer<T> = Result<T, Status>;

/// The node's side: what mappers call.
pub trait DeviceManager: Send + Sync + 'static {
    /// A mapper comes. Answers with the devices and models it is to serve, if it asks for them.
    ///
    /// # Errors
    /// `InvalidArgument` when it does not say who it is.
    fn mapper_register(
        &self,
        request: MapperRegisterRequest,
    ) -> impl Future<Output = Answer<MapperRegisterResponse>> + Send;

    /// A mapper reports values. Answered when they are durable.
    ///
    /// # Errors
    /// `NotFound` for a device of another node; `InvalidArgument` for values the model does not
    /// allow.
    fn report_device_status(
        &self,
        request: ReportDeviceStatusRequest,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// A mapper reports how a device is. Answered when it is durable.
    ///
    /// # Errors
    /// As [`DeviceManager::report_device_status`].
    fn report_device_states(
        &self,
        request: ReportDeviceStatesRequest,
    ) -> impl Future<Output = Answer<()>> + Send;
}

/// The mapper's side: what the node calls. Every call may come again.
pub trait DeviceMapper: Send + Sync + 'static {
    /// Serve this device.
    ///
    /// # Errors
    /// `InvalidArgument` when the device cannot be served as it is described.
    fn register_device(
        &self,
        request: DeviceMessage,
    ) -> impl Future<Output = Answer<NameMessage>> + Send;

    /// Serve it no more.
    ///
    /// # Errors
    /// None that are expected: a device that is not there is removed.
    fn remove_device(&self, request: NameMessage) -> impl Future<Output = Answer<()>> + Send;

    /// Serve it as it is described here.
    ///
    /// # Errors
    /// As [`DeviceMapper::register_device`].
    fn update_device(&self, request: DeviceMessage) -> impl Future<Output = Answer<()>> + Send;

    /// Know this model.
    ///
    /// # Errors
    /// `InvalidArgument` when there is no model in the request.
    fn create_device_model(
        &self,
        request: ModelMessage,
    ) -> impl Future<Output = Answer<NameMessage>> + Send;

    /// Forget a model.
    ///
    /// # Errors
    /// None that are expected: a model that is not there is removed.
    fn remove_device_model(&self, request: NameMessage) -> impl Future<Output = Answer<()>> + Send;

    /// Know the model as it is described here.
    ///
    /// # Errors
    /// As [`DeviceMapper::create_device_model`].
    fn update_device_model(&self, it: ModelMessage) -> impl Future<Output = Answer<()>> + Send;

    /// What the mapper knows of a device.
    ///
    /// # Errors
    /// `NotFound`.
    fn get_device(
        &self,
        request: NameMessage,
    ) -> impl Future<Output = Answer<DeviceMessage>> + Send;
}

/// Serves a node's side until `stop` is ready; calls under way are finished first.
///
/// # Errors
/// When the server fails.
pub async fn serve_manager<M: DeviceManager>(
    door: Door,
    manager: Arc<M>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    serve(door, ManagerService(manager), stop).await
}

/// Serves a mapper's side until `stop` is ready; calls under way are finished first.
///
/// # Errors
/// When the server fails.
pub async fn serve_mapper<M: DeviceMapper>(
    door: Door,
    mapper: Arc<M>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    serve(door, MapperService(mapper), stop).await
}

async fn serve<S>(
    door: Door,
    service: S,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error>
where
    S: Service<Request, Response = Reply, Error = Infallible, Future = Replies>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
{
    let (sender, connections) = mpsc::channel(1);
    let served = Server::builder()
        .concurrency_limit_per_connection(CALLS_MAX)
        .add_service(service)
        .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop);
    tokio::select! {
        served = served => served,
        never = door.receive(sender) => match never {},
    }
}

type Request = http::Request<Body>;
type Reply = http::Response<Body>;
type Replies = Pin<Box<dyn Future<Output = Result<Reply, Infallible>> + Send>>;

/// A service around its implementor: each call by its path, and the message it answers with.
macro_rules! service {
    ($service:ident($implementor:ident) = $name:literal { $($path:ident: $call:ident -> $told:ty;)* }) => {
        #[derive(Debug)]
        struct $service<M>(Arc<M>);

        impl<M> Clone for $service<M> {
            fn clone(&self) -> Self {
                Self(Arc::clone(&self.0))
            }
        }

        impl<M> NamedService for $service<M> {
            const NAME: &'static str = $name;
        }

        impl<M: $implementor> Service<Request> for $service<M> {
            type Response = Reply;
            type Error = Infallible;
            type Future = Replies;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: Request) -> Replies {
                let it = Arc::clone(&self.0);
                Box::pin(async move {
                    Ok(match request.uri().path() {
                        $(path::$path => {
                            let call = |asked| async move {
                                it.$call(asked).await.map(<$told>::from)
                            };
                            unary(request, call).await
                        })*
                        _ => Status::unimplemented("there is no such call").into_http(),
                    })
                })
            }
        }
    };
}

service! {
    ManagerService(DeviceManager) = "v1beta1.DeviceManagerService" {
        MAPPER_REGISTER: mapper_register -> MapperRegisterResponse;
        REPORT_DEVICE_STATUS: report_device_status -> Empty;
        REPORT_DEVICE_STATES: report_device_states -> Empty;
    }
}

service! {
    MapperService(DeviceMapper) = "v1beta1.DeviceMapperService" {
        REGISTER_DEVICE: register_device -> NameMessage;
        REMOVE_DEVICE: remove_device -> Empty;
        UPDATE_DEVICE: update_device -> Empty;
        CREATE_DEVICE_MODEL: create_device_model -> NameMessage;
        REMOVE_DEVICE_MODEL: remove_device_model -> Empty;
        UPDATE_DEVICE_MODEL: update_device_model -> Empty;
        GET_DEVICE: get_device -> DeviceMessage;
    }
}

/// The answer of a call that has none.
impl From<()> for Empty {
    fn from((): ()) -> Self {
        Self {}
    }
}

/// Reads the one message of a call, and answers with one.
async fn unary<Asked, Told, Call, Calls>(request: Request, call: Call) -> Reply
where
    Asked: Message + Default + Send + Sync + 'static,
    Told: Message + Default + Send + Sync + 'static,
    Call: FnOnce(Asked) -> Calls + Send,
    Calls: Future<Output = Answer<Told>> + Send,
{
    let mut call = Some(call);
    let service = tower::service_fn(move |request: tonic::Request<Asked>| {
        let call = call.take().expect("a unary call has one message");
        let told = call(request.into_inner());
        async move { told.await.map(Response::new) }
    });
    Grpc::new(ProstCodec::<Told, Asked>::default())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .unary(service, request)
        .await
}
